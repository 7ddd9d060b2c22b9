//! What an open index is made of, as its row in `pg_index` says it, and how it compares.
//!
//! The server's own functions for conditions and expressions fold constants, and with that run what
//! its owner wrote. Here they are looked at as they are written: nothing is evaluated.
use super::OpenRelation;
use crate::pg::catalog::{operator, syscache};
use crate::pg::ffi::plain;
use crate::pg::memory::Memory;
use crate::pg::statement::expression::Expression;
use crate::pg::transaction::local_settings::LocalSettings;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use crate::pg::{ffi, lookup_function};
use pgrx::pg_sys;
use std::cmp::Ordering;
use std::ffi::CString;
use std::rc::Rc;
use std::{ptr, slice};

type IndexRow = syscache::Row<pg_sys::FormData_pg_index>;

/// The support function of a btree that compares (`BTORDER_PROC` of `nbtree.h`).
const BTORDER_PROC: i16 = 1;

/// The one that says whether equal values have one image (likewise).
const BTEQUALIMAGE_PROC: i16 = 4;

/// An index.
pub struct IndexDefinition {
    /// Its oid,
    pub oid: pg_sys::Oid,
    /// that of its table,
    table: pg_sys::Oid,
    /// and its name, which is the constraint's too where there is one.
    pub name: String,
    /// Whether it is a btree.
    btree: bool,
    /// Whether it lets a key in once.
    pub unique: bool,
    /// Whether it is an exclusion constraint's.
    pub exclusion: bool,
    /// Whether it is the primary key's.
    pub primary: bool,
    /// Whether it is checked while a row goes in.
    pub immediate: bool,
    /// Whether NULL equals NULL in it.
    pub nulls_equal: bool,
    /// Whether it is not about to be dropped,
    pub live: bool,
    /// and whether the server uses it; one that is being built it passes over.
    pub usable: bool,
    /// Its key columns, without those that it includes.
    columns: Vec<IndexColumn>,
    /// Whether it is partial,
    pub partial: bool,
    /// and whether it is on expressions.
    pub on_expressions: bool,
}

/// A key column of an index.
#[derive(Clone, Copy)]
struct IndexColumn {
    /// The number of the table's column; 0 for an expression.
    number: pg_sys::AttrNumber,
    /// The family of its operators,
    family: pg_sys::Oid,
    /// and the type that these are for.
    input: pg_sys::Oid,
    /// `InvalidOid` for a type without collation.
    collation: pg_sys::Oid,
    /// `INDOPTION_DESC` and `INDOPTION_NULLS_FIRST`.
    options: i16,
}

impl IndexDefinition {
    /// That of an open relation; None if it is no index.
    pub fn of(index: &OpenRelation) -> Option<Self> {
        let has = |attribute: u32| {
            // SAFETY: an open index keeps its row of `pg_index`; a column that may be NULL needs no
            // descriptor.
            unsafe {
                let row = index.entry().rd_indextuple;
                !pg_sys::heap_attisnull(row, attribute as i32, ptr::null_mut())
            }
        };
        // SAFETY: null for what is no index. Nothing is looked up while it is in hand.
        let form = unsafe { index.entry().rd_index.as_ref() }?;
        let definition = Self {
            oid: index.oid(),
            table: form.indrelid,
            name: String::new(),
            btree: index.form().relam == pg_sys::BTREE_AM_OID,
            unique: form.indisunique,
            exclusion: form.indisexclusion,
            primary: form.indisprimary,
            immediate: form.indimmediate,
            nulls_equal: form.indnullsnotdistinct,
            live: form.indislive,
            usable: form.indisvalid && form.indisready,
            columns: columns_of(index, form),
            partial: has(pg_sys::Anum_pg_index_indpred),
            on_expressions: has(pg_sys::Anum_pg_index_indexprs),
        };
        // To convert a name to UTF-8 may take a look-up.
        let name = index.name();
        Some(Self { name, ..definition })
    }

    /// Whether it is a btree.
    pub fn is_btree(&self) -> bool {
        self.btree
    }

    /// Whether its order is ascending, NULLs last, in every column.
    pub fn is_ascending(&self) -> bool {
        self.columns.iter().all(|column| column.options == 0)
    }

    /// The expressions among its key columns, in order.
    pub fn expressions(&self) -> Vec<IndexExpression> {
        let Some(list) = tree(self.oid, IndexRow::expressions) else {
            return Vec::new();
        };
        let places = self.columns.iter().enumerate();
        let places = places.filter(|(_, column)| column.number == 0);
        // What refers to other schemas says so, whoever looks.
        let _names = LocalSettings::fixed_names();
        let expression = |(i, (place, _)): (usize, (usize, &IndexColumn))| {
            let number = place as i32 + 1;
            // SAFETY: a list of expressions over the table, as many as key columns that are none
            // of its own, and in their order.
            let (node, typid, typmod, collation) = unsafe {
                let node = (*(*list.cast::<pg_sys::List>()).elements.add(i)).ptr_value;
                let node: *mut pg_sys::Node = node.cast();
                let collation = pg_sys::exprCollation(node);
                let (typid, typmod) = (pg_sys::exprType(node), pg_sys::exprTypmod(node));
                (node, typid, typmod, collation)
            };
            IndexExpression {
                name: column_definition(self.oid, number, true),
                sql: column_definition(self.oid, number, false),
                typid,
                typmod,
                collation,
                // SAFETY: an expression over the table.
                numbers: unsafe { numbers_in(node) },
            }
        };
        places.enumerate().map(expression).collect()
    }

    /// Its condition, if it is partial.
    pub fn condition(&self) -> Option<IndexCondition> {
        let condition = tree(self.oid, IndexRow::predicate)?;
        let _names = LocalSettings::fixed_names();
        // SAFETY: an expression over the table, which is there as long as its index is open, and so
        // has a name. Core gives a C string.
        unsafe {
            let name = pg_sys::get_rel_name(self.table);
            let context = pg_sys::deparse_context_for(name, self.table);
            let shown = pg_sys::deparse_expression(condition, context, false, false);
            Some(IndexCondition {
                sql: text::from_server(shown),
                numbers: numbers_in(condition),
                not_null_numbers: columns_not_null(condition),
            })
        }
    }
}

/// The place of an expression among those of an index, if it is one of them.
pub fn place_of_expression(index: pg_sys::Oid, expression: Expression<'_>) -> Option<usize> {
    let list = tree(index, IndexRow::expressions)?.cast::<pg_sys::List>();
    // SAFETY: a list of whole trees has as many members as it says.
    let is = |i: &usize| unsafe {
        let own = (*(*list).elements.add(*i)).ptr_value;
        pg_sys::equal(own.cast(), expression.raw().cast())
    };
    // SAFETY: likewise, and none is empty.
    let count = unsafe { (*list).length };
    (0..count as usize).find(is)
}

/// A key column of an index that is an expression.
pub struct IndexExpression {
    /// As `pg_get_indexdef` shows it, with all schemas but `pg_catalog`.
    pub name: String,
    /// The same with every cast and parenthesis that the server had to add: it is read as the same
    /// expression.
    pub sql: String,
    pub typid: pg_sys::Oid,
    /// The type modifier, or -1.
    pub typmod: i32,
    /// Its own collation, or `InvalidOid`.
    pub collation: pg_sys::Oid,
    /// The numbers of the columns that it refers to; 0 is the whole row.
    pub numbers: Vec<pg_sys::AttrNumber>,
}

/// The condition of a partial index.
pub struct IndexCondition {
    /// As SQL, with all schemas but `pg_catalog`.
    pub sql: String,
    /// The numbers of the columns that it refers to; 0 is the whole row.
    pub numbers: Vec<pg_sys::AttrNumber>,
    /// The numbers of the columns of which it says that they are not NULL, if it says nothing
    /// else.
    pub not_null_numbers: Option<Vec<pg_sys::AttrNumber>>,
}

/// A column of an index, from 1, as `pg_get_indexdef` shows it under the current `search_path`,
/// pretty or not. Nothing is evaluated.
///
/// # Errors
/// XX000 if the index is gone.
pub fn column_definition(index: pg_sys::Oid, column: i32, pretty: bool) -> String {
    // SAFETY: core's function, with arguments of its types. It gives a text, which is not NULL, or
    // an error.
    unsafe {
        let shown = pg_sys::OidFunctionCall3Coll(
            pg_sys::F_PG_GET_INDEXDEF_OID_INT4_BOOL.into(),
            pg_sys::InvalidOid,
            pg_sys::Datum::from(index),
            pg_sys::Datum::from(column),
            pg_sys::Datum::from(pretty),
        );
        text::from_server(pg_sys::text_to_cstring(shown.cast_mut_ptr()))
    }
}

/// The numbers of the columns that an expression refers to, in order.
///
/// # Safety
/// It is one over a table, which is number 1 among its relations.
unsafe fn numbers_in(expression: *mut pg_sys::Node) -> Vec<pg_sys::AttrNumber> {
    let mut numbers = Vec::new();
    // SAFETY: the caller's promise; the set counts from the first system column on.
    unsafe {
        let mut set = ptr::null_mut();
        pg_sys::pull_varattnos(expression, 1, &raw mut set);
        let mut member = -1;
        loop {
            member = pg_sys::bms_next_member(set, member);
            if member < 0 {
                return numbers;
            }
            let number = member + pg_sys::FirstLowInvalidHeapAttributeNumber;
            numbers.push(number as pg_sys::AttrNumber);
        }
    }
}

/// The numbers of the columns of which a condition says that they are not NULL, if it says
/// nothing else.
///
/// # Safety
/// It is a whole tree.
unsafe fn columns_not_null(condition: *mut pg_sys::Node) -> Option<Vec<pg_sys::AttrNumber>> {
    // SAFETY: each node is of the type that its tag says, which is asked first.
    unsafe {
        match (*condition).type_ {
            pg_sys::NodeTag::T_NullTest => {
                let test = &*condition.cast::<pg_sys::NullTest>();
                let tested = test.arg.cast::<pg_sys::Node>();
                let is_not_null = test.nulltesttype == pg_sys::NullTestType::IS_NOT_NULL;
                (is_not_null && !test.argisrow && (*tested).type_ == pg_sys::NodeTag::T_Var)
                    .then(|| vec![(*tested.cast::<pg_sys::Var>()).varattno])
            }
            pg_sys::NodeTag::T_BoolExpr => {
                let all = &*condition.cast::<pg_sys::BoolExpr>();
                if all.boolop != pg_sys::BoolExprType::AND_EXPR {
                    return None;
                }
                let members = 0..(*all.args).length as usize;
                let member = |i| (*(*all.args).elements.add(i)).ptr_value.cast();
                let columns = members.map(|i| columns_not_null(member(i)));
                Some(columns.collect::<Option<Vec<_>>>()?.concat())
            }
            _ => None,
        }
    }
}

/// The key columns of an open index.
fn columns_of(index: &OpenRelation, form: &pg_sys::FormData_pg_index) -> Vec<IndexColumn> {
    let entry = index.entry();
    let count = usize::try_from(form.indnkeyatts).unwrap_or(0);
    // SAFETY: an open index has these arrays, with a member for every key column. They are copied
    // before anything is looked up.
    unsafe {
        let numbers = slice::from_raw_parts(form.indkey.values.as_ptr(), count);
        let column = |(i, number): (usize, &pg_sys::AttrNumber)| IndexColumn {
            number: *number,
            family: *entry.rd_opfamily.add(i),
            input: *entry.rd_opcintype.add(i),
            collation: *entry.rd_indcollation.add(i),
            options: *entry.rd_indoption.add(i),
        };
        numbers.iter().enumerate().map(column).collect()
    }
}

/// An expression in the row of an index, as it is written, in the current context.
pub(in crate::pg) fn tree(
    index: pg_sys::Oid,
    column: fn(&IndexRow) -> Option<CString>,
) -> Option<*mut pg_sys::Node> {
    let text = syscache::find(index, column)??;
    // SAFETY: the text of a node, which core reads to its NUL.
    Some(unsafe { pg_sys::stringToNode(text.as_ptr()) }.cast())
}

/// The operators and functions of a key column of a btree.
#[derive(Clone)]
pub struct KeyOperators {
    /// The type of the column.
    typid: pg_sys::Oid,
    /// The index's equality operator for it.
    pub equality_operator: pg_sys::Oid,
    /// The function of that operator, ready to be called,
    equality: *mut pg_sys::FmgrInfo,
    /// and its oid.
    pub equality_function: pg_sys::RegProcedure,
    /// The index's three-way comparison for it.
    order: *mut pg_sys::FmgrInfo,
    /// The function of that comparison.
    pub order_function: pg_sys::RegProcedure,
    /// The function of the index's «greater or equal» for it.
    pub greater_equal_function: pg_sys::RegProcedure,
    /// The index's «less than» for it.
    pub less_than: pg_sys::Oid,
    /// The index's collation for it.
    pub collation: pg_sys::Oid,
    /// The index's operator class for it.
    pub operator_class: pg_sys::Oid,
    /// What the functions are in, those of the index's other columns among them.
    _memory: Rc<Memory>,
}

impl KeyOperators {
    /// Those of the key columns of a btree, with the columns' numbers; 0 is an expression, of which
    /// the types are given, in order.
    ///
    /// # Errors
    /// XX000, in core's words, if an operator class has gone.
    ///
    /// # Panics
    /// If the index is no btree.
    pub fn of_btree(
        index: &IndexDefinition,
        expressions: &[IndexExpression],
    ) -> Vec<(pg_sys::AttrNumber, Self)> {
        assert!(index.btree, "the operators of a btree are looked up");
        let memory = Rc::new(Memory::in_cache(c"pg_idempotent index"));
        let mut types = expressions.iter().map(|expression| expression.typid);
        let columns = index.columns.iter().enumerate();
        columns
            .map(|(i, column)| {
                let typid = match column.number {
                    0 => types.next().expect("an expression has its type"),
                    // SAFETY: a look-up by numbers.
                    number => unsafe { pg_sys::get_atttype(index.table, number) },
                };
                (column.number, Self::of_column(index, i, typid, &memory))
            })
            .collect()
    }

    fn of_column(
        index: &IndexDefinition,
        i: usize,
        typid: pg_sys::Oid,
        memory: &Rc<Memory>,
    ) -> Self {
        let IndexColumn {
            family,
            input,
            collation,
            ..
        } = index.columns[i];
        // SAFETY: a look-up by numbers.
        let class = unsafe { pg_sys::get_index_column_opclass(index.oid, i as i32 + 1) };
        Self::of_class(class, [family, input], (typid, collation), memory)
    }

    /// Those of a column of this type and collation under the type's default order, as a btree on it
    /// would have them; None if the type has no order.
    pub fn of_type(typid: pg_sys::Oid, collation: pg_sys::Oid) -> Option<Self> {
        let class = operator::btree_class(typid)?;
        let memory = Rc::new(Memory::in_cache(c"pg_idempotent key"));
        let class_for = [
            plain::get_opclass_family(class),
            plain::get_opclass_input_type(class),
        ];
        Some(Self::of_class(
            class,
            class_for,
            (typid, collation),
            &memory,
        ))
    }

    /// Those of a class, which is of this family and for this type, for a column.
    fn of_class(
        class: pg_sys::Oid,
        [family, input]: [pg_sys::Oid; 2],
        (typid, collation): (pg_sys::Oid, pg_sys::Oid),
        memory: &Rc<Memory>,
    ) -> Self {
        let member = |strategy: u32| {
            // SAFETY: a look-up by numbers, which gives `InvalidOid` for what there is not.
            unsafe { pg_sys::get_opfamily_member(family, input, input, strategy as i16) }
        };
        let equality_operator = member(pg_sys::BTEqualStrategyNumber);
        let greater_equal = member(pg_sys::BTGreaterEqualStrategyNumber);
        // SAFETY: look-ups by numbers; core raises an error for a function that there is not. The
        // memory is that of the index's operators alone, and goes with the last of them.
        unsafe {
            let equality_function = pg_sys::get_opcode(equality_operator);
            let order_function = pg_sys::get_opfamily_proc(family, input, input, BTORDER_PROC);
            Self {
                typid,
                equality_operator,
                equality: lookup_function(memory.context(), equality_function),
                equality_function,
                order: lookup_function(memory.context(), order_function),
                order_function,
                greater_equal_function: pg_sys::get_opcode(greater_equal),
                less_than: member(pg_sys::BTLessStrategyNumber),
                collation,
                operator_class: class,
                _memory: Rc::clone(memory),
            }
        }
    }

    /// The type of the column.
    pub fn typid(&self) -> pg_sys::Oid {
        self.typid
    }

    /// The function of the equality operator, ready to be called, for as long as this lives.
    pub fn equality(&self) -> *mut pg_sys::FmgrInfo {
        self.equality
    }

    /// Two values of the column, which are both something.
    ///
    /// # Panics
    /// If one is of another type.
    #[inline]
    fn checked(&self, a: SqlValue<'_>, b: SqlValue<'_>) -> Option<(pg_sys::Datum, pg_sys::Datum)> {
        self.datum_of(a).zip(self.datum_of(b))
    }

    /// The datum of a value of the column.
    ///
    /// # Panics
    /// If it is of another type.
    #[inline]
    pub fn datum_of(&self, value: SqlValue<'_>) -> Option<pg_sys::Datum> {
        assert!(
            value.typid() == self.typid,
            "a value of another type is compared with a key"
        );
        value.to_datum()
    }

    /// Whether two values of the column are the same to the index. NULL is the
    /// same as NULL.
    ///
    /// # Panics
    /// If they are of another type.
    #[inline]
    pub fn agrees(&self, a: SqlValue<'_>, b: SqlValue<'_>) -> bool {
        let Some((a, b)) = self.checked(a, b) else {
            return a.is_null() && b.is_null();
        };
        // SAFETY: non-null values of the column's type, and the index's equality for them; the
        // guard holds nothing.
        let equal = unsafe {
            ffi::guard(|| ffi::unguarded::FunctionCall2Coll(self.equality, self.collation, a, b))
        };
        equal.value() != 0
    }

    /// The index's order of two values of the column, NULL last.
    ///
    /// # Panics
    /// If they are of another type.
    #[inline]
    pub fn compare(&self, a: SqlValue<'_>, b: SqlValue<'_>) -> Ordering {
        let Some((a, b)) = self.checked(a, b) else {
            return a.is_null().cmp(&b.is_null());
        };
        // SAFETY: non-null values of the column's type, and the index's comparison for them; the
        // guard holds nothing.
        let order = unsafe {
            ffi::guard(|| ffi::unguarded::FunctionCall2Coll(self.order, self.collation, a, b))
        };
        (order.value() as i32).cmp(&0)
    }

    /// Whether values that are equal to the index have one image, by its operator class.
    pub fn has_equal_image(&self) -> bool {
        // SAFETY: look-ups for an operator class, with core's error for one that has gone; its
        // function is declared so.
        unsafe {
            let family = pg_sys::get_opclass_family(self.operator_class);
            let input = pg_sys::get_opclass_input_type(self.operator_class);
            let function = pg_sys::get_opfamily_proc(family, input, input, BTEQUALIMAGE_PROC);
            function != pg_sys::InvalidOid
                && pg_sys::OidFunctionCall1Coll(
                    function,
                    self.collation,
                    pg_sys::Datum::from(input),
                )
                .value()
                    != 0
        }
    }
}
