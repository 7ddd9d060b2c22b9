//! JSON payloads.
//!
//! Read in two passes: the first finds out which columns each payload names,
//! since the default key depends on all of them; the second coerces.
use super::nested::NestedColumns;
use super::row::{Layout, Mark};
use super::shape::{Shape, key_violation};
use crate::error::{PayloadPosition, Report, SqlState};
use crate::pg::jsonb::{Container, Kind, Value};
use crate::pg::memory::Memory;
use crate::pg::rows::Slot;
use crate::pg::text;
use crate::target::{Target, UniqueIndex};
use std::collections::HashMap;
use std::pin::Pin;

/// The payloads of one call, with the shape of each.
pub struct JsonPayloads<'t> {
    target: &'t Target,
    documents: Vec<Container>,
    /// By payload.
    shape_of: Vec<u32>,
    /// The distinct shapes.
    pub shapes: Vec<Shape>,
    /// Whether ordinals mean something to the caller.
    pub batch: bool,
}

impl<'t> JsonPayloads<'t> {
    /// The one payload of a single call. What is not an object is error 22023,
    /// a field that is no column 42703.
    pub fn one(target: &'t Target, payload: Container) -> Self {
        if payload.kind() != Kind::Object {
            Report::new(
                SqlState::InvalidParameterValue,
                "payload is not a JSON object",
            )
            .detail(format!("It is a JSON {}.", payload.kind().name()))
            .raise()
        }
        let mut this = Self::empty(target, false);
        this.documents.push(payload);
        this.find_shapes();
        this
    }

    /// The payloads of a batch: an array of objects, else error 22023.
    pub fn many(target: &'t Target, payloads: Container) -> Self {
        if payloads.kind() != Kind::Array {
            Report::new(
                SqlState::InvalidParameterValue,
                "payloads is not a JSON array",
            )
            .detail(format!("It is a JSON {}.", payloads.kind().name()))
            .hint("Pass an array of objects, or a single object to idempotent_insert.")
            .raise()
        }
        let mut this = Self::empty(target, true);
        this.documents.reserve(payloads.len());
        payloads.each_member(|member| {
            let kind = member.container().map_or(Kind::Scalar, Container::kind);
            match member.container() {
                Some(document) if kind == Kind::Object => this.documents.push(document),
                _ => Report::new(
                    SqlState::InvalidParameterValue,
                    format!("payload {} is not a JSON object", this.documents.len() + 1),
                )
                .detail(format!("It is a JSON {}.", kind.name()))
                .raise(),
            }
        });
        this.find_shapes();
        this
    }

    fn empty(target: &'t Target, batch: bool) -> Self {
        Self {
            target,
            documents: Vec::new(),
            shape_of: Vec::new(),
            shapes: Vec::new(),
            batch,
        }
    }

    /// How many payloads there are.
    pub fn len(&self) -> usize {
        self.documents.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    fn find_shapes(&mut self) {
        let mut by_columns: HashMap<Vec<usize>, u32> = HashMap::new();
        let mut named: Vec<usize> = Vec::new();
        self.shape_of.reserve(self.documents.len());
        for (i, document) in self.documents.iter().enumerate() {
            let ordinal = i as i64 + 1;
            // jsonb keeps the fields of equal objects in equal order, so the
            // last shape is the first guess, and costs no look-up by name.
            let guess = self
                .shape_of
                .last()
                .map(|s| &self.shapes[*s as usize].named);
            let mut fits = guess.is_some_and(|guess| guess.len() == document.len());
            named.clear();
            document.each_field(|name, _| {
                let expected = match guess {
                    Some(guess) if fits => guess.get(named.len()).copied(),
                    _ => None,
                };
                let column = match expected {
                    Some(c) if self.target.columns[c].c_name.to_bytes() == name => c,
                    _ => {
                        fits = false;
                        self.target
                            .column_by_bytes(name)
                            .unwrap_or_else(|| self.unknown_field(name, ordinal))
                    }
                };
                named.push(column);
            });
            let shape = match self.shape_of.last() {
                Some(last) if fits => *last,
                _ => *by_columns.entry(named.clone()).or_insert_with(|| {
                    self.shapes.push(Shape {
                        named: named.clone(),
                        compared: Vec::new(),
                        first: ordinal,
                    });
                    self.shapes.len() as u32 - 1
                }),
            };
            self.shape_of.push(shape);
        }
    }

    fn unknown_field(&self, name: &[u8], ordinal: i64) -> ! {
        let report = self.target.no_such_column(&text::from_server_bytes(name));
        if self.batch {
            report
                .detail(format!("Payload {ordinal} has a field of that name."))
                .raise()
        }
        report.raise()
    }

    /// Coerces every payload to a working row and hands it to `take`, which
    /// copies what it keeps.
    ///
    /// # Errors
    /// What the input functions raise, with the payload's ordinal and the
    /// column in CONTEXT; 23502 for a NULL in the key.
    pub fn read(&self, arbiter: &UniqueIndex, take: &mut dyn FnMut(&Slot)) {
        let mut row = Slot::for_values(self.target.row_desc());
        let slot = &mut row;
        let values = Memory::in_current(c"pg_idempotent payload");
        let shapes_memory = Memory::in_current(c"pg_idempotent nested columns");
        let mut nested: Vec<Option<NestedColumns>> = self
            .shapes
            .iter()
            .map(|s| NestedColumns::of_shape(self.target, &s.named, &shapes_memory))
            .collect();
        let layout = Layout::of(self.target);
        let position = PayloadPosition::watch();
        for (i, (document, shape)) in self.documents.iter().zip(&self.shape_of).enumerate() {
            let (ordinal, shape) = (i as i64 + 1, *shape as usize);
            position.payload(if self.batch { ordinal } else { 0 });
            values.scope(|| {
                slot.clear();
                let named = &self.shapes[shape].named;
                self.coerce(*document, named, nested[shape].as_mut(), slot, &position);
                layout.set(slot, ordinal, shape, Mark::Fresh);
                slot.store();
                self.demand_key_values(arbiter, slot, ordinal);
            });
            take(slot);
            values.reset();
        }
    }

    fn coerce(
        &self,
        document: Container,
        named: &[usize],
        nested: Option<&mut NestedColumns>,
        slot: &mut Slot,
        position: &Pin<Box<PayloadPosition>>,
    ) {
        let mut columns = named.iter();
        let mut nested_fields: Vec<(usize, Value)> = Vec::new();
        document.each_field(|_, value| {
            let c = *columns.next().expect("the first pass counted the fields");
            let column = &self.target.columns[c];
            if column.nested {
                nested_fields.push((c, value.copied()));
                return;
            }
            position.column(&column.c_name);
            slot.set(c, value.coerce_to(column));
        });
        if let Some(nested) = nested {
            position.no_column();
            nested.read(self.target, &nested_fields, |c, value| slot.set(c, value));
        }
    }

    fn demand_key_values(&self, arbiter: &UniqueIndex, slot: &Slot, ordinal: i64) {
        if arbiter.nulls_equal {
            return;
        }
        if let Some(column) = arbiter.columns().find(|c| slot.get(*c).is_none()) {
            let ordinal = self.batch.then_some(ordinal);
            key_violation(self.target, arbiter, column, ordinal, "null in").raise()
        }
    }
}

impl Value {
    /// The value as the column's type reads it; JSON null is NULL.
    fn coerce_to(&self, column: &crate::target::Column) -> Option<pgrx::pg_sys::Datum> {
        use pgrx::pg_sys;
        if !self.is_null() {
            if column.typid == pg_sys::JSONBOID {
                return Some(self.to_jsonb());
            }
            if column.typid == pg_sys::JSONOID {
                let text = self.to_json_text();
                // SAFETY: JSON text for json's input function.
                return unsafe { column.read(text) };
            }
        }
        let text = self.to_input_text();
        // SAFETY: a C string in the server's encoding, or null.
        unsafe { column.read(text) }
    }
}
