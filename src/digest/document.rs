//! Canonical bytes of jsonb.
use super::number;
use super::sink::Sink;
use super::tag;
use super::writer::Writer;
use crate::pg::backend::check_stack_depth;
use crate::pg::interrupt;
use crate::pg::value::jsonb::{Container, Kind, Value};

/// Writes a document, or what is inside of one.
pub fn write(container: Container<'_>, writer: &mut Writer) {
    check_stack_depth();
    match container.kind() {
        Kind::Scalar => container
            .members()
            .for_each(|value| write_value(value, writer)),
        Kind::Array => {
            writer.tag(tag::MEMBERS);
            writer.length(container.len());
            container
                .members()
                .for_each(|value| write_value(value, writer));
        }
        Kind::Object => {
            writer.tag(tag::OBJECT);
            writer.length(container.len());
            let fields = container.names().zip(container.values());
            if writer.is_foreign() {
                return write_in_order(fields, writer);
            }
            for (name, value) in fields {
                writer.length(name.len());
                writer.raw(name);
                write_value(value, writer);
            }
        }
    }
}

fn write_value(value: Value<'_>, writer: &mut Writer) {
    interrupt::check();
    match value {
        Value::Null => writer.tag(tag::NULL),
        Value::Boolean(false) => writer.tag(tag::FALSE),
        Value::Boolean(true) => writer.tag(tag::TRUE),
        Value::String(string) => writer.text(string),
        Value::Number(number) => number::write(number.content(), writer),
        Value::Container(container, _) => write(container, writer),
    }
}

/// jsonb has the fields of an object in order of their names, the shorter ones first.
/// In another encoding that may be another order.
fn write_in_order<'d>(fields: impl Iterator<Item = (&'d [u8], Value<'d>)>, writer: &mut Writer) {
    let mut sorted: Vec<_> = fields
        .map(|(name, value)| (writer.in_utf8(name), value))
        .collect();
    sorted.sort_unstable_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    for (name, value) in sorted {
        writer.length(name.len());
        writer.raw(&name);
        write_value(value, writer);
    }
}
