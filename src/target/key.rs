//! The unique indexes of a target, and the columns of their keys.
use super::index::{has_expressions, is_partial, number_where_null, numbers_in_expressions};
use super::{Column, OpenRelation};
use crate::pg::ffi;
use crate::pg::lookup_function;
use crate::pg::memory::Memory;
use crate::pg::rows::{RowColumn, RowDesc, SortColumn, TypeOrder};
use crate::pg::value::text;
use pgrx::pg_sys;
use std::cmp::Ordering;

/// The support function of a btree that compares (`BTORDER_PROC` of `nbtree.h`).
const BTORDER_PROC: i16 = 1;

/// The one that says whether equal values have one image (likewise).
const BTEQUALIMAGE_PROC: i16 = 4;

/// One key column of a usable unique index.
#[derive(Clone, Copy, Debug)]
pub struct KeyColumn {
    /// Position in [`Target::columns`](super::Target::columns).
    pub column: usize,
    /// Its storage: whether passed by value, and its length.
    pub storage: (bool, i16),
    /// The index's equality operator for it.
    pub equality_operator: pg_sys::Oid,
    /// The function of that operator, ready to be called,
    pub equality: *mut pg_sys::FmgrInfo,
    /// and its oid.
    pub equality_function: pg_sys::RegProcedure,
    /// The index's three-way comparison for it.
    pub order: *mut pg_sys::FmgrInfo,
    /// The function of that comparison.
    pub order_function: pg_sys::RegProcedure,
    /// The function of the index's «greater or equal» for it.
    pub greater_equal_function: pg_sys::RegProcedure,
    /// The index's order of it, as sorts take it.
    pub sort_order: TypeOrder,
    /// The index's collation for it.
    pub collation: pg_sys::Oid,
    /// The index's operator class for it.
    pub operator_class: pg_sys::Oid,
}

impl KeyColumn {
    /// Column `i` (from 0) of an index.
    ///
    /// # Safety
    /// `index` is an open btree with such a key column, which is this column of the table.
    unsafe fn of_index(
        index: &OpenRelation,
        i: usize,
        column: usize,
        table_column: &Column,
        memory: &Memory,
    ) -> Self {
        let rel = index.raw();
        // SAFETY: an open index has these arrays, with a member for every key column.
        unsafe {
            let family = *(*rel).rd_opfamily.add(i);
            let input = *(*rel).rd_opcintype.add(i);
            let member =
                |strategy: u32| pg_sys::get_opfamily_member(family, input, input, strategy as i16);
            let greater_equal = member(pg_sys::BTGreaterEqualStrategyNumber);
            let equality_operator = member(pg_sys::BTEqualStrategyNumber);
            let equality_function = pg_sys::get_opcode(equality_operator);
            let order_function = pg_sys::get_opfamily_proc(family, input, input, BTORDER_PROC);
            let collation = *(*rel).rd_indcollation.add(i);
            let less_than = member(pg_sys::BTLessStrategyNumber);
            Self {
                storage: table_column.storage(),
                order: lookup_function(memory.context(), order_function),
                order_function,
                column,
                equality_operator,
                equality: lookup_function(memory.context(), equality_function),
                equality_function,
                greater_equal_function: pg_sys::get_opcode(greater_equal),
                sort_order: TypeOrder::new(table_column.typid, less_than, collation),
                collation,
                operator_class: operator_class(index.oid(), i),
            }
        }
    }

    /// Whether two values of the column are the same to the index. NULL is the
    /// same as NULL.
    pub fn agrees(&self, a: Option<pg_sys::Datum>, b: Option<pg_sys::Datum>) -> bool {
        match (a, b) {
            (None, None) => true,
            // SAFETY: non-null values of the column, its index's equality; the
            // guard holds nothing.
            (Some(a), Some(b)) => unsafe {
                ffi::guard(|| {
                    ffi::unguarded::FunctionCall2Coll(self.equality, self.collation, a, b)
                })
                .value()
                    != 0
            },
            _ => false,
        }
    }

    /// The index's order of two values of the column, NULL last.
    pub fn compare(&self, a: Option<pg_sys::Datum>, b: Option<pg_sys::Datum>) -> Ordering {
        match (a, b) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            // SAFETY: non-null values of the column, its index's comparison; the guard holds
            // nothing.
            (Some(a), Some(b)) => unsafe {
                let order = ffi::guard(|| {
                    ffi::unguarded::FunctionCall2Coll(self.order, self.collation, a, b)
                });
                (order.value() as i32).cmp(&0)
            },
        }
    }

    /// Whether values that are equal to the index have one image, by its operator class.
    pub fn has_equal_image(&self) -> bool {
        // SAFETY: look-ups for an existing operator class, whose function is declared so.
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

    /// SQL that says that two expressions are the same to the index.
    pub fn equals(&self, left: &str, right: &str) -> String {
        equal(
            self.equality_operator,
            left,
            &collate(self.collation),
            right,
        )
    }
}

fn collate(collation: pg_sys::Oid) -> String {
    if collation == pg_sys::InvalidOid {
        return String::new();
    }
    // SAFETY: an existing collation; the name is quoted, and qualified where it has to
    // be.
    let name = unsafe { text::from_server(pg_sys::generate_collation_name(collation)) };
    format!(" COLLATE {name}")
}

/// SQL that compares two values of a column by this operator, under a collation if one is
/// named: no operator of the caller's may answer instead.
///
/// Where the operator's schema may be anybody's, the values are cast to its types: for a
/// domain over one of these there may be a nearer operator of the same name.
pub fn equal(operator: pg_sys::Oid, left: &str, collate: &str, right: &str) -> String {
    // SAFETY: an existing operator; its row is released after it was read.
    let (schema, name, types) = unsafe {
        let id = pg_sys::SysCacheIdentifier::OPEROID as i32;
        let tuple = pg_sys::SearchSysCache1(id, pg_sys::Datum::from(operator));
        let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_operator>();
        let (schema, name) = (form.oprnamespace, text::from_name(&form.oprname));
        let types = [form.oprleft, form.oprright];
        pg_sys::ReleaseSysCache(tuple);
        (schema, name, types)
    };
    let cast = |typid| {
        // SAFETY: the types that an operator takes exist while it does; the name is a C string.
        unsafe {
            let pseudo = pg_sys::get_typtype(typid) as u8 == pg_sys::TYPTYPE_PSEUDO;
            if schema == pg_sys::PG_CATALOG_NAMESPACE.into() || pseudo {
                return String::new();
            }
            let name = pg_sys::format_type_be_qualified(typid);
            format!("::{}", text::from_server(name))
        }
    };
    let [cast_left, cast_right] = types.map(cast);
    // SAFETY: a schema exists while it has operators, and its name is a C string.
    let schema = unsafe { text::from_server(pg_sys::get_namespace_name(schema)) };
    let schema = text::quote_identifier(&schema);
    format!("{left}{cast_left}{collate} OPERATOR({schema}.{name}) {right}{cast_right}")
}

/// A unique index of a target.
pub struct UniqueIndex {
    /// The index's oid.
    pub oid: pg_sys::Oid,
    /// Its name, which is the constraint's too where there is one.
    pub name: String,
    /// How ON CONFLICT names it alone, where another unique index has the same
    /// columns; None where the columns name it.
    pub inference_clause: Option<String>,
    /// Whether it is the primary key's.
    pub primary: bool,
    /// Whether NULL equals NULL in it.
    pub nulls_equal: bool,
    /// Whether its order is that of [`UniqueIndex::sort_columns`]: ascending,
    /// NULLs last.
    pub ascending: bool,
    /// Its key columns in index order; of an index with expressions, those that
    /// are plain columns.
    pub keys: Vec<KeyColumn>,
    /// The columns that its expressions refer to, by position, if it has some.
    pub expressions: Option<Vec<usize>>,
    /// Whether it is partial.
    pub partial: bool,
    /// The column of which its condition says that it is NULL, and nothing else.
    pub null_predicate_column: Option<usize>,
    /// The descriptor of a row of its key columns alone.
    pub key_desc: RowDesc,
    /// Whether the server uses it; one that is being built it passes over.
    pub valid: bool,
    /// Whether it is checked at the end of a statement or transaction.
    pub deferrable: bool,
    /// Why it cannot decide, as the end of a sentence; None if it can.
    pub unusable_reason: Option<&'static str>,
}

impl UniqueIndex {
    /// The unique indexes of an open table.
    pub fn of_relation(
        relation: &OpenRelation,
        table_columns: &[Column],
        memory: &Memory,
    ) -> Vec<Self> {
        let mut indexes = Vec::new();
        // The lock on an index goes when it is read: none is held by whoever finds the
        // target in the cache, either. The table's own keeps its indexes.
        // SAFETY: the list is a copy that we free; every index on it is locked
        // before it is read.
        unsafe {
            let list = pg_sys::RelationGetIndexList(relation.raw());
            if !list.is_null() {
                for i in 0..(*list).length {
                    let oid = (*(*list).elements.add(i as usize)).oid_value;
                    // One that is gone meanwhile (DROP INDEX CONCURRENTLY) decides nothing.
                    let Some(index) = OpenRelation::try_open_briefly(oid) else {
                        continue;
                    };
                    let form = &*(*index.raw()).rd_index;
                    if form.indisunique && form.indislive {
                        indexes.push(Self::of_index(&index, form, table_columns, memory));
                    }
                }
                pg_sys::list_free(list);
            }
        }
        for i in 0..indexes.len() {
            let columns: Vec<usize> = indexes[i].columns().collect();
            let twin = indexes
                .iter()
                .enumerate()
                .any(|(j, other)| i != j && other.valid && other.same_columns(&columns));
            if twin && indexes[i].unusable_reason.is_none() {
                indexes[i].inference_clause = Some(indexes[i].inference(table_columns));
            }
        }
        // The primary key first, then by age, so that messages are stable.
        indexes.sort_by_key(|index| (!index.primary, index.oid.to_u32()));
        Self::put_nulls_equal_first(&mut indexes);
        indexes
    }

    /// Of two indexes on the same columns that one decides which comes first. Where NULL
    /// equals NULL in the other one, it knows keys that the first does not tell apart.
    fn put_nulls_equal_first(indexes: &mut Vec<Self>) {
        for i in 0..indexes.len() {
            let columns: Vec<usize> = indexes[i].columns().collect();
            let twin = indexes.iter().skip(i + 1).position(|other| {
                other.nulls_equal && other.unusable_reason.is_none() && other.same_columns(&columns)
            });
            if let Some(twin) = twin.filter(|_| {
                let first = &indexes[i];
                first.unusable_reason.is_none() && !first.nulls_equal && !first.primary
            }) {
                let index = indexes.remove(i + 1 + twin);
                indexes.insert(i, index);
            }
        }
    }

    /// # Safety
    /// `index` is an open index and `form` its catalog row.
    unsafe fn of_index(
        index: &OpenRelation,
        form: &pg_sys::FormData_pg_index,
        columns: &[Column],
        memory: &Memory,
    ) -> Self {
        let rel = index.raw();
        // SAFETY: an open index has these arrays, with a member for every key
        // column.
        unsafe {
            let numbers =
                std::slice::from_raw_parts(form.indkey.values.as_ptr(), form.indnkeyatts as usize);
            let overlaps = form.indisexclusion || (*(*rel).rd_rel).relam != pg_sys::BTREE_AM_OID;
            let place = |number| columns.iter().position(|c| c.attnum == number);
            let partial = is_partial(index);
            let expressions = has_expressions(index).then(|| {
                let numbers = numbers_in_expressions(index).into_iter();
                numbers.filter_map(place).collect()
            });
            let unusable_reason = if overlaps {
                Some("excludes rows that overlap, not only equal keys")
            } else if !form.indisvalid || !form.indisready {
                Some("is not valid; rebuild it with REINDEX")
            } else if !form.indimmediate {
                Some("is deferrable, so the server does not check it while a row is inserted")
            } else if partial {
                Some("is partial, so it does not cover every row")
            } else if expressions.is_some() {
                Some("is on expressions, not on the columns themselves")
            } else {
                None
            };
            let mut keys = Vec::with_capacity(numbers.len());
            for (i, number) in numbers.iter().enumerate().filter(|_| !overlaps) {
                if let Some(column) = place(*number) {
                    let table_column = &columns[column];
                    keys.push(KeyColumn::of_index(index, i, column, table_column, memory));
                }
            }
            Self {
                oid: index.oid(),
                name: text::from_name(&(*(*rel).rd_rel).relname),
                inference_clause: None,
                primary: form.indisprimary,
                nulls_equal: form.indnullsnotdistinct,
                key_desc: key_desc(&keys, columns),
                ascending: (0..numbers.len()).all(|i| *(*rel).rd_indoption.add(i) == 0),
                keys,
                expressions,
                partial,
                null_predicate_column: number_where_null(index).and_then(place),
                valid: form.indisvalid && form.indisready,
                deferrable: !form.indimmediate,
                unusable_reason,
            }
        }
    }

    /// `ON CONSTRAINT name`, or the columns with collation and operator class,
    /// which tell it from an index on the same columns.
    fn inference(&self, columns: &[Column]) -> String {
        // SAFETY: a look-up in a catalog, which gives `InvalidOid` for what there is not.
        let constraint = unsafe { pg_sys::get_index_constraint(self.oid) };
        if constraint != pg_sys::InvalidOid {
            return format!("ON CONSTRAINT {}", text::quote_identifier(&self.name));
        }
        let parts = self.keys.iter().map(|key| {
            let mut part = text::quote_identifier(&columns[key.column].name);
            // SAFETY: existing objects; the names are C strings, quoted, and
            // qualified where they have to be.
            unsafe {
                if key.collation != pg_sys::InvalidOid {
                    let name = pg_sys::generate_collation_name(key.collation);
                    part = format!("{part} COLLATE {}", text::from_server(name));
                }
                let class = pg_sys::generate_opclass_name(key.operator_class);
                format!("{part} {}", text::from_server(class))
            }
        });
        format!("({})", parts.collect::<Vec<_>>().join(", "))
    }

    /// The positions of its key columns, in index order.
    pub fn columns(&self) -> impl Iterator<Item = usize> + '_ {
        self.keys.iter().map(|key| key.column)
    }

    /// Whether this column is part of the key.
    pub fn has_column(&self, column: usize) -> bool {
        self.columns().any(|c| c == column)
    }

    /// Whether these columns are the key, in any order.
    pub fn same_columns(&self, columns: &[usize]) -> bool {
        self.expressions.is_none()
            && self.keys.len() == columns.len()
            && columns.iter().all(|c| self.has_column(*c))
    }

    /// Whether these columns and no others are in the key, be it within an expression.
    pub(super) fn is_about(&self, columns: &[usize]) -> bool {
        let within = self.expressions.iter().flatten().copied();
        let mut own: Vec<usize> = self.columns().chain(within).collect();
        own.sort_unstable();
        own.dedup();
        own.len() == columns.len() && columns.iter().all(|c| own.contains(c))
    }

    /// The order of its keys.
    pub fn sort_columns(&self) -> Vec<SortColumn> {
        self.keys
            .iter()
            .map(|key| SortColumn {
                column: key.column,
                order: key.sort_order,
            })
            .collect()
    }
}

/// The operator class of an index's column (from 0).
fn operator_class(index: pg_sys::Oid, i: usize) -> pg_sys::Oid {
    // SAFETY: core's own accessor, for a column of an index that the caller has open.
    unsafe { pg_sys::get_index_column_opclass(index, i as i32 + 1) }
}

fn key_desc(keys: &[KeyColumn], columns: &[Column]) -> RowDesc {
    let column = |key: &KeyColumn| {
        let column = &columns[key.column];
        RowColumn {
            typmod: column.typmod,
            ..RowColumn::of_type(&column.c_name, column.typid)
        }
    };
    RowDesc::of(&keys.iter().map(column).collect::<Vec<_>>())
}
