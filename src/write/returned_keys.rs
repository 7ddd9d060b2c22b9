//! The keys of the rows that INSERT returned.
use super::context::WriteContext;
use super::terms::Returning;
use crate::payload::key_values::KeyValues;
use crate::payload::row::{has_key, same_key};
use crate::pg::rows::{RowBuilder, Slot, TupleSort, TupleStore};

/// Finds out under which keys rows went in, by what INSERT returned of them.
pub struct ReturnedKeys<'a> {
    context: &'a WriteContext<'a>,
    /// Whether whole rows are returned.
    whole: bool,
    /// Where their columns are in working rows.
    columns: Vec<usize>,
    /// The arbiter's expressions and condition, and working rows for these, if it has some.
    computed: Option<(KeyValues, RowBuilder)>,
}

impl<'a> ReturnedKeys<'a> {
    pub fn new(context: &'a WriteContext<'a>, returning: Returning) -> Self {
        let values = KeyValues::of(context.target, context.relation, context.arbiter);
        let whole = returning == Returning::Rows;
        let columns = match (&values, whole) {
            (None, _) => Vec::new(),
            (Some(_), true) => (0..context.target.columns.len()).collect(),
            (Some(_), false) => context.arbiter.deciding_columns().to_vec(),
        };
        Self {
            context,
            whole,
            columns,
            computed: values.map(|values| (values, RowBuilder::new(context.target.row_desc()))),
        }
    }

    /// Whether a row was returned for this working row: it has the same key, or both have none.
    pub fn is_that_of(&mut self, row: &Slot, returned: &Slot) -> bool {
        let arbiter = self.context.arbiter;
        let Some((values, builder)) = &mut self.computed else {
            return match self.whole {
                true => same_key(arbiter, row, returned),
                false => has_key(arbiter, row, returned),
            };
        };
        let columns = self.columns.iter().copied();
        match values.working_row(builder, returned, columns) {
            Some(returned) => !self.context.is_outside(row) && same_key(arbiter, row, returned),
            None => self.context.is_outside(row),
        }
    }

    /// Puts rows that were returned in any order into a store, in the order in which they were sent. Those
    /// that were not sent are behind all others.
    pub fn put_in_order_of(
        &mut self,
        sent: &[Slot],
        returned: &mut TupleStore,
        store: &mut TupleStore,
    ) {
        match self.computed {
            Some(_) => self.put_computed(sent, returned, store),
            None => self.put_sorted(returned, store),
        }
    }

    /// By plain columns: rows are sent in the arbiter's order.
    fn put_sorted(&self, returned: &mut TupleStore, store: &mut TupleStore) {
        let mut order = self.context.arbiter.sort_columns();
        if !self.whole {
            for (i, column) in order.iter_mut().enumerate() {
                column.column = i;
            }
        }
        let mut sort = TupleSort::new(returned.desc(), &order);
        returned.each(|row| sort.put(row));
        sort.sort();
        let mut row = Slot::for_stored(returned.desc());
        while sort.next(&mut row) {
            pgrx::check_for_interrupts!();
            store.put(&row);
        }
    }

    /// By what an arbiter with expressions or a condition makes of them. Rows without a key are in the places of
    /// rows without a key, whichever these are.
    fn put_computed(&mut self, sent: &[Slot], returned: &mut TupleStore, store: &mut TupleStore) {
        let (context, columns) = (self.context, &self.columns);
        let (values, builder) = self.computed.as_mut().expect("it is computed");
        let arbiter = context.arbiter;
        let mut with_key = TupleSort::new(context.target.row_desc(), &arbiter.sort_columns());
        let mut outside = TupleStore::new(returned.desc());
        returned.each(
            |row| match values.working_row(builder, row, columns.iter().copied()) {
                Some(working) => with_key.put(working),
                None => outside.put(row),
            },
        );
        with_key.sort();
        let mut builder = RowBuilder::new(returned.desc());
        let mut working = Slot::for_stored(with_key.desc());
        let mut some = with_key.next(&mut working);
        let mut without_key = Slot::for_stored(outside.desc());
        for sent in sent {
            pgrx::check_for_interrupts!();
            if context.is_outside(sent) {
                if outside.next(&mut without_key) {
                    store.put(&without_key);
                }
            } else if some && same_key(arbiter, sent, &working) {
                store.put(as_returned(&mut builder, columns, &working));
                some = with_key.next(&mut working);
            }
        }
        while some {
            store.put(as_returned(&mut builder, columns, &working));
            some = with_key.next(&mut working);
        }
        outside.each(|row| store.put(row));
    }
}

/// A row of these columns of a working row.
fn as_returned<'b>(builder: &'b mut RowBuilder, columns: &[usize], working: &'b Slot) -> &'b Slot {
    let mut row = builder.start();
    for (i, column) in columns.iter().enumerate() {
        row.set(i, working.value(*column));
    }
    row.finish()
}
