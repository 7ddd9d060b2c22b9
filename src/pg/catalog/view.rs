//! Views that show columns of one table and nothing else.
use crate::pg::list::members;
use pgrx::pg_sys;

/// What such a view shows.
pub struct SimpleView {
    /// Its table.
    pub table: pg_sys::Oid,
    /// The number, in the table, of each of its columns.
    pub columns: Vec<pg_sys::AttrNumber>,
}

impl SimpleView {
    /// What an open view shows; None if it is another kind of view: one over several relations, with
    /// a condition, with expressions.
    ///
    /// # Safety
    /// An open relation.
    pub unsafe fn of(relation: pg_sys::Relation) -> Option<Self> {
        // SAFETY: the caller's promise. The query is part of the relation's entry; it is read, and
        // nothing is looked up meanwhile. Each node is of the type that its tag says.
        unsafe {
            if (*(*relation).rd_rel).relkind as u8 != pg_sys::RELKIND_VIEW {
                return None;
            }
            let query = &*pg_sys::get_view_query(relation);
            let from = query.jointree.as_ref()?;
            let mut relations = members::<pg_sys::Node>(from.fromlist);
            let (only, more) = (relations.next()?, relations.next());
            let simple = query.commandType == pg_sys::CmdType::CMD_SELECT
                && more.is_none()
                && (*only).type_ == pg_sys::NodeTag::T_RangeTblRef
                && from.quals.is_null()
                && query.setOperations.is_null()
                && query.groupClause.is_null()
                && query.havingQual.is_null()
                && query.distinctClause.is_null()
                && query.limitCount.is_null()
                && query.limitOffset.is_null()
                && query.cteList.is_null();
            if !simple {
                return None;
            }
            let index = (*only.cast::<pg_sys::RangeTblRef>()).rtindex;
            let entry = members::<pg_sys::RangeTblEntry>(query.rtable).nth(index as usize - 1)?;
            let plain = (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION;
            if !plain || !(*entry).tablesample.is_null() {
                return None;
            }
            let shown = members::<pg_sys::TargetEntry>(query.targetList);
            let columns = shown
                .filter(|entry| !(**entry).resjunk)
                .map(|entry| {
                    let expression = (*entry).expr.cast::<pg_sys::Node>();
                    let variable = expression.cast::<pg_sys::Var>();
                    let plain = (*expression).type_ == pg_sys::NodeTag::T_Var
                        && (*variable).varno == index
                        && (*variable).varattno > 0;
                    plain.then(|| (*variable).varattno)
                })
                .collect::<Option<Vec<_>>>()?;
            // A column that is shown twice could be given two values.
            let twice = (1..columns.len()).any(|i| columns[..i].contains(&columns[i]));
            (!twice).then(|| Self {
                table: (*entry).relid,
                columns,
            })
        }
    }
}
