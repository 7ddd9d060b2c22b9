//! JSON payloads.
//!
//! Read in two passes: the first finds out which columns each payload names,
//! since the default key depends on all of them; the second coerces.
use super::fill::fill_from_json;
use super::generated::GeneratedColumns;
use super::key_defaults::KeyDefaults;
use super::merge_fields::MergeFields;
use super::nested::NestedColumns;
use super::row::{RowLayout, null_in_key};
use super::shape::{KeyPlace, Shape, key_violation, missing_key_column};
use crate::error::{PayloadPosition, Report, RowError, RowOrigin, SqlState, catch_row_error};
use crate::own_function::own_function;
use crate::pg::memory::Scratch;
use crate::pg::rows::{RowBuilder, RowDesc, Slot, TupleStore};
use crate::pg::transaction::transactions::in_subtransaction;
use crate::pg::value::jsonb::{Container, Kind, Value};
use crate::pg::value::text;
use crate::target::{OpenRelation, Target, UniqueIndex};
use std::collections::HashMap;

/// The payloads of one call, with the shape of each.
pub struct JsonPayloads<'t> {
    target: &'t Target,
    documents: Vec<Container<'t>>,
    /// By payload.
    shape_of: Vec<u32>,
    /// The distinct shapes.
    pub shapes: Vec<Shape>,
    /// Whether there is one, or a batch of them.
    pub origin: RowOrigin,
    /// The key columns that some of them leave out.
    key_defaults: KeyDefaults,
    /// What a merge reads beside the columns.
    merge: Option<MergeFields>,
    /// The descriptor of the working rows.
    row_desc: RowDesc,
    /// By shape, the key column that its payloads lack, which are refused; empty where none may.
    incomplete: Vec<Option<usize>>,
}

impl<'t> JsonPayloads<'t> {
    /// The one payload of a single call. What is not an object is error 22023,
    /// a field that is no column 42703.
    pub fn one(target: &'t Target, payload: Container<'t>) -> Self {
        if payload.kind() != Kind::Object {
            Report::new(
                SqlState::InvalidParameterValue,
                "argument \"payload\" must be a JSON object",
            )
            .detail(format!("It is a JSON {}.", payload.kind_name()))
            .raise()
        }
        Self::object(target, RowOrigin::Payload, payload)
    }

    fn object(target: &'t Target, origin: RowOrigin, object: Container<'t>) -> Self {
        let mut this = Self::empty(target, origin, None);
        this.documents.push(object);
        this.find_shapes();
        this
    }

    /// The object that names a slice, likewise.
    pub fn slice(target: &'t Target, slice: Container<'t>) -> Self {
        Self::object(target, RowOrigin::Slice, slice)
    }

    /// The payloads of a batch: an array of objects, else error 22023.
    pub fn many(target: &'t Target, payloads: Container<'t>) -> Self {
        Self::array(target, payloads, None)
    }

    /// The payloads of a merge, likewise, which have these fields beside those of columns.
    ///
    /// # Errors
    /// As [`JsonPayloads::many`] and [`MergeFields::add_shape`].
    pub fn to_merge(target: &'t Target, payloads: Container<'t>, fields: MergeFields) -> Self {
        Self::array(target, payloads, Some(fields))
    }

    fn array(target: &'t Target, payloads: Container<'t>, merge: Option<MergeFields>) -> Self {
        if payloads.kind() != Kind::Array {
            Report::new(
                SqlState::InvalidParameterValue,
                "argument \"payloads\" must be a JSON array",
            )
            .detail(format!("It is a JSON {}.", payloads.kind_name()))
            .hint(match merge {
                None => format!(
                    "Pass an array of objects, or a single object to {}.",
                    own_function("idempotent_insert")
                ),
                Some(_) => "Pass an array of objects.".to_owned(),
            })
            .raise()
        }
        let mut this = Self::empty(target, RowOrigin::Payloads, merge);
        this.documents.reserve(payloads.len());
        for member in payloads.members() {
            pgrx::check_for_interrupts!();
            let kind = match member {
                Value::Container(document, _) if document.kind() == Kind::Object => {
                    this.documents.push(document);
                    continue;
                }
                other => other.kind_name(),
            };
            Report::new(
                SqlState::InvalidParameterValue,
                format!("payload {} is not a JSON object", this.documents.len() + 1),
            )
            .detail(format!("It is a JSON {kind}."))
            .raise()
        }
        this.find_shapes();
        this
    }

    fn empty(target: &'t Target, origin: RowOrigin, merge: Option<MergeFields>) -> Self {
        let unstored = merge.as_ref().map_or(&[][..], |fields| &fields.unstored);
        Self {
            row_desc: target.row_desc_and(unstored),
            target,
            documents: Vec::new(),
            shape_of: Vec::new(),
            shapes: Vec::new(),
            origin,
            key_defaults: KeyDefaults::none(),
            merge,
            incomplete: Vec::new(),
        }
    }

    /// The shapes of a merge's payloads, and what it reads beside the columns.
    ///
    /// # Panics
    /// If this is no merge.
    pub fn shapes_and_fields(&mut self) -> (&mut Vec<Shape>, &mut MergeFields) {
        (&mut self.shapes, self.merge.as_mut().expect("a merge"))
    }

    /// The descriptor of the working rows.
    pub fn row_desc(&self) -> &RowDesc {
        &self.row_desc
    }

    /// Lets payloads lack key columns: each is refused when it is read.
    pub fn set_incomplete_aside(&mut self, arbiter: &UniqueIndex) {
        let shapes = self.shapes.iter();
        self.incomplete = shapes
            .map(|shape| missing_key_column(self.target, arbiter, shape))
            .collect();
    }

    /// Completes the keys of payloads that leave to a default what it tells alike in every
    /// attempt.
    ///
    /// # Errors
    /// As [`KeyDefaults::of`].
    pub fn complete_keys(&mut self, relation: &OpenRelation, arbiter: &UniqueIndex) {
        let shapes = self.shapes.iter().enumerate();
        let complete = shapes.filter(|(i, _)| self.lacks(*i).is_none());
        let complete: Vec<&Shape> = complete.map(|(_, shape)| shape).collect();
        self.key_defaults = KeyDefaults::of(self.target, relation, arbiter, &complete);
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
        let mut previous: Option<(Container<'t>, u32)> = None;
        self.shape_of.reserve(self.documents.len());
        for i in 0..self.documents.len() {
            pgrx::check_for_interrupts!();
            let document = self.documents[i];
            let shape = match previous {
                Some((alike, shape)) if document.same_names(alike) => shape,
                _ => {
                    let ordinal = i as i64 + 1;
                    let column_of = |name| {
                        self.target
                            .column_by_bytes(name)
                            .or_else(|| self.merge.as_ref()?.field(self.target, name))
                            .unwrap_or_else(|| self.unknown_field(name, ordinal))
                    };
                    let mut named = Vec::with_capacity(document.len());
                    named.extend(document.names().map(column_of));
                    self.shape(named, document, ordinal, &mut by_columns)
                }
            };
            previous = Some((document, shape));
            self.shape_of.push(shape);
        }
    }

    /// The shape of a payload with fields for these columns, which `known` finds where there are
    /// several.
    fn shape(
        &mut self,
        columns: Vec<usize>,
        payload: Container<'_>,
        first: i64,
        known: &mut HashMap<Vec<usize>, u32>,
    ) -> u32 {
        let new = self.shapes.len() as u32;
        if new > 0 {
            if known.is_empty() {
                let columns = match &self.merge {
                    Some(fields) => fields.first_fields(),
                    None => &self.shapes[0].named,
                };
                known.insert(columns.to_vec(), 0);
            }
            if let Some(shape) = known.get(&columns) {
                return *shape;
            }
            known.insert(columns.clone(), new);
        }
        let named = match &mut self.merge {
            Some(fields) => fields.add_shape(self.target, columns, payload, first),
            None => columns,
        };
        self.shapes.push(Shape {
            named,
            compared: Vec::new(),
            first,
        });
        new
    }

    fn unknown_field(&self, name: &[u8], ordinal: i64) -> ! {
        let name = text::from_server_bytes(name);
        if self.origin == RowOrigin::Slice {
            self.target.no_such_column_in(&name, "slice").raise()
        }
        let report = self.target.no_such_column(&name);
        if self.origin.is_batch() {
            let payload = self.origin.numbered(ordinal).capitalized();
            report
                .detail(format!("{payload} has a field of that name."))
                .raise()
        }
        report.raise()
    }

    /// The key column that payloads of a shape lack.
    fn lacks(&self, shape: usize) -> Option<usize> {
        self.incomplete.get(shape).copied().flatten()
    }

    /// Coerces every payload to a working row and hands it to `take`, which
    /// copies what it keeps. Values live in `values`, which is reset for every
    /// payload.
    ///
    /// # Errors
    /// What the input functions raise, with the payload's ordinal and the
    /// column in CONTEXT; 23502 for a NULL in the arbiter's key, where there is one; 428C9
    /// for a generated column with another value than the server computes.
    pub fn read(
        &self,
        arbiter: Option<&UniqueIndex>,
        generated: Option<GeneratedColumns<'_>>,
        values: &Scratch,
        take: &mut dyn FnMut(&Slot),
    ) {
        let position = PayloadPosition::watch(self.origin);
        let mut reading = Reading::new(self, arbiter, generated, &position);
        for i in 0..self.len() {
            pgrx::check_for_interrupts!();
            take(values.scope(|| reading.row(i)));
            values.reset();
        }
    }

    /// Likewise, but a payload with an error that rejects it is handed to `reject`, with its ordinal.
    ///
    /// Payloads are read in a subtransaction that goes on until one is refused. The rows that it has
    /// made are kept meanwhile: `take` may use files, which would go with it.
    pub fn read_rejecting(
        &self,
        arbiter: &UniqueIndex,
        generated: Option<GeneratedColumns<'_>>,
        values: &Scratch,
        take: &mut dyn FnMut(&Slot),
        reject: &mut dyn FnMut(i64, &RowError, Container<'t>),
    ) {
        let position = PayloadPosition::watch(self.origin);
        let mut reading = Reading::new(self, Some(arbiter), generated, &position);
        let mut rows = TupleStore::new(&self.row_desc);
        let mut next = 0;
        while next < self.len() {
            let mut read = || {
                while next < self.len() {
                    pgrx::check_for_interrupts!();
                    rows.put(values.scope(|| reading.row(next)));
                    values.reset();
                    next += 1;
                }
            };
            let result = catch_row_error(|| in_subtransaction(&mut read));
            values.reset();
            if let Err(error) = result {
                let error = error.or_column(position.column_at_hand());
                reject(next as i64 + 1, &error, self.documents[next]);
                next += 1;
            }
        }
        rows.each(take);
    }

    /// By shape; empty where the target has no nested column.
    fn nested_columns(&self) -> Vec<Option<NestedColumns>> {
        if !self.target.columns.iter().any(|column| column.nested) {
            return Vec::new();
        }
        let columns = |(i, shape): (usize, &Shape)| match &self.merge {
            Some(fields) => NestedColumns::of_shape(self.target, fields.columns(i, false)),
            None => NestedColumns::of_shape(self.target, &shape.named),
        };
        self.shapes.iter().enumerate().map(columns).collect()
    }
}

/// Payloads on their way to working rows.
struct Reading<'p, 'q, 't, 'g> {
    payloads: &'q JsonPayloads<'t>,
    arbiter: Option<&'p UniqueIndex>,
    generated: Option<GeneratedColumns<'g>>,
    position: &'p PayloadPosition<'q>,
    nested: Vec<Option<NestedColumns>>,
    builder: RowBuilder,
}

impl<'p, 'q, 't, 'g> Reading<'p, 'q, 't, 'g> {
    fn new(
        payloads: &'q JsonPayloads<'t>,
        arbiter: Option<&'p UniqueIndex>,
        generated: Option<GeneratedColumns<'g>>,
        position: &'p PayloadPosition<'q>,
    ) -> Self {
        Self {
            payloads,
            arbiter,
            generated,
            position,
            nested: payloads.nested_columns(),
            builder: RowBuilder::new(&payloads.row_desc),
        }
    }

    /// The working row of a payload (from 0), whose values are in the current memory.
    fn row(&mut self, i: usize) -> &Slot {
        let payloads = self.payloads;
        let (document, shape) = (payloads.documents[i], payloads.shape_of[i] as usize);
        let (target, position) = (payloads.target, self.position);
        let ordinal = i as i64 + 1;
        let number = if payloads.origin.is_batch() {
            ordinal
        } else {
            0
        };
        position.payload(number);
        if let (Some(arbiter), Some(column)) = (self.arbiter, payloads.lacks(shape)) {
            payloads.refuse_key(arbiter, column, "missing from", ordinal)
        }
        let mut row = self.builder.start();
        let named = &payloads.shapes[shape].named;
        let merge = payloads.merge.as_ref();
        let deletes = merge.is_some_and(|fields| fields.deletes(document, shape, position));
        let columns = merge.map_or(named.as_slice(), |m| m.columns(shape, deletes));
        fill_from_json(target, &mut row, columns, document, position);
        if let Some(nested) = self.nested.get(shape).and_then(Option::as_ref) {
            let fields = columns.iter().copied().zip(document.values());
            nested.read(target, fields, position, &mut row);
        }
        if let Some(fields) = merge {
            fields.read(target, document, shape, position, &mut row);
        }
        payloads.key_defaults.complete(named, &mut row);
        position.no_column();
        let mark = payloads.key_defaults.mark(&mut row);
        let mark = if deletes { mark.of_delete() } else { mark };
        RowLayout::of(target).set(&mut row, ordinal, shape, mark);
        let row = row.finish();
        if let Some(arbiter) = self.arbiter {
            payloads.check_key_values(arbiter, row, ordinal);
        }
        // What a payload that deletes has beside its key is not stored.
        if let Some(generated) = self.generated.as_mut().filter(|_| !deletes)
            && let Some(column) = generated.mismatch_in(row, shape)
        {
            let payload = payloads.origin.numbered(ordinal);
            generated.differs(column, payload).raise()
        }
        row
    }
}

impl JsonPayloads<'_> {
    fn check_key_values(&self, arbiter: &UniqueIndex, slot: &Slot, ordinal: i64) {
        if let Some(column) = null_in_key(self.target, arbiter, slot) {
            self.refuse_key(arbiter, column, "null in", ordinal)
        }
    }

    /// 23502
    fn refuse_key(&self, arbiter: &UniqueIndex, column: usize, what: &str, ordinal: i64) -> ! {
        let place = KeyPlace::Row(self.origin.numbered(ordinal));
        key_violation(self.target, arbiter, column, place, what).raise()
    }
}
