//! Canonical bytes of jsonb.
use super::number;
use super::writer::{Writer, tag};
use crate::pg::ffi;
use crate::pg::value::jsonb::{Container, Kind, Value};
use crate::pg::value::varlena::content_of;
use std::slice;

/// Writes a document, or what is inside of one.
///
/// # Safety
/// Runs inside `ffi::guard`.
pub unsafe fn write(container: Container<'_>, writer: &mut Writer) {
    // SAFETY: the caller's promise, here and in what this calls.
    unsafe {
        ffi::unguarded::check_stack_depth();
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
                    return write_in_order(fields, container.len(), writer);
                }
                for (name, value) in fields {
                    writer.length(name.len());
                    writer.raw(name);
                    write_value(value, writer);
                }
            }
        }
    }
}

unsafe fn write_value(value: Value<'_>, writer: &mut Writer) {
    // SAFETY: runs inside `ffi::guard`; a number is a numeric with its header.
    unsafe {
        ffi::check_for_interrupts_unguarded();
        match value {
            Value::Null => writer.tag(tag::NULL),
            Value::Boolean(false) => writer.tag(tag::FALSE),
            Value::Boolean(true) => writer.tag(tag::TRUE),
            Value::String(string) => writer.text(string),
            Value::Number(number) => number::write(content_of(number), writer),
            Value::Container(container, _) => write(container, writer),
        }
    }
}

/// jsonb has the fields of an object in order of their names, the shorter ones first.
/// In another encoding that may be another order.
///
/// # Safety
/// Runs inside `ffi::guard`. Of the fields no more than `count` are written.
unsafe fn write_in_order<'d>(
    fields: impl Iterator<Item = (&'d [u8], Value<'d>)>,
    count: usize,
    writer: &mut Writer,
) {
    // SAFETY: as many members as are written, each before it is read.
    // Sorting in place allocates nothing.
    unsafe {
        let size = count * size_of::<(&[u8], Value<'_>)>();
        let sorted = ffi::unguarded::palloc(size).cast::<(&[u8], Value<'d>)>();
        let mut used = 0;
        for (name, value) in fields.take(count) {
            sorted.add(used).write((writer.in_utf8(name), value));
            used += 1;
        }
        let sorted = slice::from_raw_parts_mut(sorted, used);
        sorted.sort_unstable_by_key(|(name, _)| (name.len(), *name));
        for (name, value) in sorted {
            writer.length(name.len());
            writer.raw(name);
            write_value(*value, writer);
        }
    }
}
