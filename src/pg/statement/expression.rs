//! Expressions of the server, as trees: what they are, and what they call. None of this calls one of
//! their functions, [`Expression::fold`] aside.
use super::clock_text::{is_input_function, is_time, says_the_moment};
use crate::pg::ffi;
use crate::pg::memory::Memory;
use crate::pg::relation::OpenRelation;
use crate::pg::value::by_reference::content_of;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use pgrx::{pg_guard, pg_sys};
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;

/// The memory that expressions are in. It goes with its owner, who does not hand it out.
pub struct Expressions(Memory);

/// An expression of the server's.
#[derive(Clone, Copy)]
pub struct Expression<'m> {
    /// A whole tree.
    node: *mut pg_sys::Node,
    memory: PhantomData<&'m Expressions>,
}

/// What an assignment makes of the values of a column.
pub enum Assignment<'m> {
    /// The same values.
    Unchanged,
    /// Those of this expression, over a row that has the column.
    Coerced(Expression<'m>),
    /// Nothing: no cast leads from one type to the other.
    Refused,
}

/// A column of a row, as an expression refers to it.
pub struct Variable {
    /// Its number in the row, from 1.
    pub number: pg_sys::AttrNumber,
    pub typid: pg_sys::Oid,
    /// Its type modifier, or -1.
    pub typmod: i32,
    /// Its collation, or `InvalidOid`.
    pub collation: pg_sys::Oid,
}

impl Expressions {
    /// Memory without expressions, below the current one.
    pub fn new() -> Self {
        Self(Memory::in_current(c"pg_idempotent expressions"))
    }

    fn expression(&self, make: impl FnOnce() -> *mut pg_sys::Node) -> Option<Expression<'_>> {
        let node = self.0.scope(make);
        (!node.is_null()).then_some(Expression {
            node,
            memory: PhantomData,
        })
    }

    /// An expression that `make` makes in this memory; None if that is null.
    ///
    /// # Safety
    /// It is a whole tree, or null.
    pub unsafe fn read(&self, make: impl FnOnce() -> *mut pg_sys::Node) -> Option<Expression<'_>> {
        self.expression(make)
    }

    /// The expressions of a list that `make` makes in this memory; none if that is null.
    ///
    /// # Safety
    /// It is a list of whole trees, or null.
    pub unsafe fn members(&self, make: impl FnOnce() -> *mut pg_sys::Node) -> Vec<Expression<'_>> {
        let list = self.0.scope(make).cast::<pg_sys::List>();
        // SAFETY: the caller's promise; an empty list is null.
        let count = unsafe { list.as_ref() }.map_or(0, |list| list.length as usize);
        let member = |i| Expression {
            // SAFETY: a list has as many members as it says.
            node: unsafe { (*(*list).elements.add(i)).ptr_value.cast() },
            memory: PhantomData,
        };
        (0..count).map(member).collect()
    }

    /// An expression over the columns of a relation, as an index may be on it: read from SQL, by
    /// the caller's `search_path`. None for what is SQL, but no single expression.
    ///
    /// Whoever writes a literal of a composite type has its domains checked; nothing else is
    /// evaluated.
    ///
    /// # Errors
    /// 42601, 42703, 42883 and the like, as CREATE INDEX raises them.
    pub fn parse(&self, relation: &OpenRelation, sql: &CStr) -> Option<Expression<'_>> {
        // SAFETY: an open relation, which is the only one that the expression can refer to. The
        // parser's trees are what their tags say; those of one expression are a SELECT of it alone.
        self.expression(|| unsafe {
            let mode = pg_sys::RawParseMode::RAW_PARSE_PLPGSQL_EXPR;
            let Some(read) = single_expression(pg_sys::raw_parser(sql.as_ptr(), mode)) else {
                return ptr::null_mut();
            };
            let state = pg_sys::make_parsestate(ptr::null_mut());
            let lock = pg_sys::AccessShareLock as c_int;
            let table = pg_sys::addRangeTableEntryForRelation(
                state,
                relation.raw(),
                lock,
                ptr::null_mut(),
                false,
                true,
            );
            pg_sys::addNSItemToQuery(state, table, false, true, true);
            let kind = pg_sys::ParseExprKind::EXPR_KIND_INDEX_EXPRESSION;
            let expression = pg_sys::transformExpr(state, read, kind);
            pg_sys::assign_expr_collations(state, expression);
            pg_sys::free_parsestate(state);
            expression
        })
    }

    /// What an assignment to a type with this modifier makes of the values of a column.
    pub fn assignment(&self, from: &Variable, typid: pg_sys::Oid, typmod: i32) -> Assignment<'_> {
        let mut variable = ptr::null_mut();
        // SAFETY: nodes are made of plain numbers, of types that may be gone: that is an error of
        // core's. No state of a parser is needed, for there are no parameters.
        let coerced = self.expression(|| unsafe {
            variable = pg_sys::makeVar(1, from.number, from.typid, from.typmod, from.collation, 0)
                .cast::<pg_sys::Node>();
            pg_sys::coerce_to_target_type(
                ptr::null_mut(),
                variable,
                from.typid,
                typid,
                typmod,
                pg_sys::CoercionContext::COERCION_ASSIGNMENT,
                pg_sys::CoercionForm::COERCE_IMPLICIT_CAST,
                -1,
            )
        });
        match coerced {
            None => Assignment::Refused,
            Some(coerced) if ptr::eq(coerced.node, variable) => Assignment::Unchanged,
            Some(coerced) => Assignment::Coerced(coerced),
        }
    }
}

impl Default for Expressions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenRelation {
    /// What fills a column: its default, or that of its identity or domain, or what it is generated
    /// from. None if nothing does.
    ///
    /// # Panics
    /// If it has no column of this number.
    pub fn column_expression<'m>(
        &self,
        expressions: &'m Expressions,
        number: pg_sys::AttrNumber,
    ) -> Option<Expression<'m>> {
        expressions.expression(|| column_default(self, number))
    }

    /// Whether a CHECK of it calls a volatile function.
    pub fn has_volatile_check(&self) -> bool {
        let expressions = Expressions::new();
        // SAFETY: the descriptor of an open relation keeps its CHECKs, as text, of which fresh trees are
        // made; nothing is looked up meanwhile.
        let checks: Vec<Expression<'_>> = unsafe {
            let constraints = (*self.desc()).constr.as_ref();
            let count = constraints.map_or(0, |constraints| constraints.num_check);
            let first = constraints.map_or(ptr::null_mut(), |constraints| constraints.check);
            (0..usize::from(count))
                .filter_map(|i| {
                    let text = (*first.add(i)).ccbin;
                    expressions.expression(|| pg_sys::stringToNode(text).cast())
                })
                .collect()
        };
        checks.into_iter().any(Expression::is_volatile)
    }

    /// The default that a column has itself, as it was written; None if it has none.
    pub fn own_default<'m>(
        &self,
        expressions: &'m Expressions,
        number: pg_sys::AttrNumber,
    ) -> Option<Expression<'m>> {
        // SAFETY: the descriptor of an open relation keeps its defaults, as text, of which a fresh
        // tree is made.
        expressions.expression(|| unsafe {
            let constraints = (*self.desc()).constr.as_ref();
            let count = constraints.map_or(0, |constraints| constraints.num_defval);
            let defaults = constraints.map_or(ptr::null_mut(), |constraints| constraints.defval);
            (0..usize::from(count))
                .map(|i| &*defaults.add(i))
                .find(|default| default.adnum == number)
                .map_or(ptr::null_mut(), |default| {
                    pg_sys::stringToNode(default.adbin).cast()
                })
        })
    }
}

/// As [`OpenRelation::column_expression`], in the current memory; null if nothing fills the column.
pub(super) fn column_default(
    relation: &OpenRelation,
    number: pg_sys::AttrNumber,
) -> *mut pg_sys::Node {
    let number = c_int::from(number);
    // SAFETY: an open relation has a descriptor, and the column, as is checked; core makes a fresh
    // tree.
    unsafe {
        let columns = (*relation.desc()).natts;
        assert!((1..=columns).contains(&number), "there is no such column");
        pg_sys::build_column_default(relation.raw(), number)
    }
}

/// What is called in an expression that is not immutable.
#[derive(Default)]
pub struct CalledFunctions {
    /// Something that gives the time.
    pub clock: bool,
    /// Something that gives another value in each transaction or connection.
    pub transaction: bool,
    /// A sequence, or an identity's.
    pub sequence: bool,
    /// Anything else that is volatile.
    pub volatile: bool,
}

impl<'m> Expression<'m> {
    /// For core's functions.
    pub fn raw(self) -> *mut pg_sys::Node {
        self.node
    }

    fn tag(self) -> pg_sys::NodeTag {
        // SAFETY: a node says what it is.
        unsafe { (*self.node).type_ }
    }

    /// The type of its value.
    pub fn typid(self) -> pg_sys::Oid {
        // SAFETY: a whole tree.
        unsafe { pg_sys::exprType(self.node) }
    }

    /// Whether it calls a volatile function.
    pub fn is_volatile(self) -> bool {
        // SAFETY: a whole tree.
        unsafe { pg_sys::contain_volatile_functions(self.node) }
    }

    /// Whether it calls a function that is not immutable.
    pub fn is_mutable(self) -> bool {
        // SAFETY: a whole tree.
        unsafe { pg_sys::contain_mutable_functions(self.node) }
    }

    /// Whether it is the next number of an identity.
    pub fn is_identity(self) -> bool {
        self.tag() == pg_sys::NodeTag::T_NextValueExpr
    }

    /// Whether it is another, node by node.
    pub fn is(self, other: Expression<'_>) -> bool {
        // SAFETY: two whole trees.
        unsafe { pg_sys::equal(self.node.cast(), other.node.cast()) }
    }

    /// Whether it cannot fail, is not NULL, and has no effect, as its outermost node tells: a
    /// constant, what SQL has a word for such as CURRENT_USER, or the time of the transaction.
    pub fn is_plain(self) -> bool {
        // SAFETY: a node is what it says.
        unsafe {
            match self.tag() {
                pg_sys::NodeTag::T_Const => !(*self.node.cast::<pg_sys::Const>()).constisnull,
                pg_sys::NodeTag::T_SQLValueFunction => true,
                _ => self.outermost_function() == Some(pg_sys::F_NOW),
            }
        }
    }

    /// The time, if it is one of the functions that give that of the statement or the transaction,
    /// and nothing else.
    pub fn time(self) -> Option<pg_sys::TimestampTz> {
        let function =
            if self.sql_value() == Some(pg_sys::SQLValueFunctionOp::SVFOP_CURRENT_TIMESTAMP) {
                pg_sys::F_NOW
            } else {
                self.outermost_function()?
            };
        let times = [
            pg_sys::F_NOW,
            pg_sys::F_TRANSACTION_TIMESTAMP,
            pg_sys::F_STATEMENT_TIMESTAMP,
        ];
        // SAFETY: core's functions, which take no arguments and give a timestamptz, by value.
        times.contains(&function).then(|| unsafe {
            pg_sys::OidFunctionCall0Coll(function.into(), pg_sys::InvalidOid).value() as i64
        })
    }

    /// The function that it is a call of, if it is one.
    fn outermost_function(self) -> Option<u32> {
        // SAFETY: a node is what it says.
        (self.tag() == pg_sys::NodeTag::T_FuncExpr)
            .then(|| unsafe { (*self.node.cast::<pg_sys::FuncExpr>()).funcid.to_u32() })
    }

    /// What SQL has a word for, if it is such a word.
    fn sql_value(self) -> Option<pg_sys::SQLValueFunctionOp::Type> {
        // SAFETY: a node is what it says.
        (self.tag() == pg_sys::NodeTag::T_SQLValueFunction)
            .then(|| unsafe { (*self.node.cast::<pg_sys::SQLValueFunction>()).op })
    }

    /// The same, with what is constant in it computed. Calls IMMUTABLE functions as the current
    /// user.
    fn fold(self) -> Self {
        // SAFETY: a whole tree, which stays as it is. What comes back may be in the current memory
        // or in that of the tree, so it is not given to anybody outside.
        let node = unsafe { pg_sys::eval_const_expressions(ptr::null_mut(), self.node) };
        Self { node, ..self }
    }

    /// Its value, in the current memory, if that is the same every time; None if only who
    /// evaluates it knows. Calls IMMUTABLE functions as the current user.
    pub fn constant(self) -> Option<SqlValue<'static>> {
        let folded = self.fold();
        if folded.tag() != pg_sys::NodeTag::T_Const {
            return None;
        }
        // SAFETY: a constant, which says of which type its value is and how it is stored. The guard
        // holds nothing.
        let value = unsafe {
            let constant = &*folded.node.cast::<pg_sys::Const>();
            let (by_value, length) = (constant.constbyval, constant.constlen);
            let copy = (!constant.constisnull).then(|| {
                ffi::guard(|| ffi::unguarded::datumCopy(constant.constvalue, by_value, length))
            });
            SqlValue::of_datum(constant.consttype, copy)
        };
        Some(value)
    }

    /// As SQL has it, such as `now()`.
    ///
    /// # Errors
    /// XX000, in core's words, if it refers to columns.
    pub fn to_sql(self) -> String {
        // SAFETY: a whole tree without variables, for which no names are needed; a variable is an
        // error of core's. It gives a C string.
        unsafe {
            let shown = pg_sys::deparse_expression(self.node, ptr::null_mut(), false, false);
            text::from_server(shown)
        }
    }

    /// The columns of its table that it refers to, by their numbers.
    pub fn columns(self) -> Vec<pg_sys::AttrNumber> {
        let mut used = ptr::null_mut();
        // SAFETY: a whole tree, with variables of the one table.
        unsafe { pg_sys::pull_varattnos(self.node, 1, &raw mut used) };
        // SAFETY: the set that was just made, or none; its numbers begin with the lowest of a
        // system column.
        let next = |member: c_int| unsafe { pg_sys::bms_next_member(used, member) };
        let members = std::iter::successors(Some(next(-1)), |member| Some(next(*member)));
        members
            .take_while(|member| *member >= 0)
            .map(|member| (member + pg_sys::FirstLowInvalidHeapAttributeNumber) as _)
            .collect()
    }

    /// Whether it calls a function that does not come with the server, or checks a domain, which
    /// may call one.
    pub fn calls_added_functions(self) -> bool {
        // SAFETY: a whole tree; nothing is owned inside the guard.
        unsafe { ffi::guard(|| find_added(self.node, ptr::null_mut())) }
    }

    /// The functions that it calls, each as often as it does.
    pub fn functions(self) -> Vec<pg_sys::Oid> {
        let mut functions = Vec::new();
        let context = (&raw mut functions).cast::<c_void>();
        // SAFETY: a whole tree; what is owned is outside of the guard.
        unsafe { ffi::guard(|| collect_functions(self.node, context)) };
        functions
    }

    /// What is called in it.
    pub fn called_functions(self) -> CalledFunctions {
        let mut met = CalledFunctions::default();
        let context = (&raw mut met).cast::<c_void>();
        // SAFETY: a whole tree; nothing is owned inside the guard.
        unsafe { ffi::guard(|| walk(self.node, context)) };
        met
    }
}

/// The expression that a statement, as the parser reads it, is; None if it is more than that.
///
/// # Safety
/// What the parser gives for an expression: a SELECT without the word.
unsafe fn single_expression(statements: *mut pg_sys::List) -> Option<*mut pg_sys::Node> {
    // SAFETY: the caller's promise; a list has as many members as it says, and an empty one is null.
    unsafe {
        let first = |list: *mut pg_sys::List| (*(*list).elements).ptr_value;
        let statement = first(statements).cast::<pg_sys::RawStmt>();
        let select = &*(*statement).stmt.cast::<pg_sys::SelectStmt>();
        let clauses = [
            select.distinctClause,
            select.fromClause,
            select.groupClause,
            select.windowClause,
            select.sortClause,
            select.lockingClause,
        ];
        let others = [
            select.whereClause,
            select.havingClause,
            select.limitCount,
            select.limitOffset,
        ];
        let alone = clauses.iter().all(|clause| clause.is_null())
            && others.iter().all(|clause| clause.is_null())
            && select
                .targetList
                .as_ref()
                .is_some_and(|list| list.length == 1);
        if !alone {
            return None;
        }
        let result = &*first(select.targetList).cast::<pg_sys::ResTarget>();
        // `*` stands for columns, in a list of a SELECT alone: as an expression the server does not
        // expect it.
        let is_star = (*result.val).type_ == pg_sys::NodeTag::T_ColumnRef && {
            let fields = (*result.val.cast::<pg_sys::ColumnRef>()).fields;
            (*first(fields).cast::<pg_sys::Node>()).type_ == pg_sys::NodeTag::T_A_Star
        };
        (result.name.is_null() && !is_star).then_some(result.val)
    }
}

/// Whether something in an expression may call a function that does not come with the server.
///
/// # Safety
/// `node` is an expression or null. Runs inside `ffi::guard`.
unsafe extern "C-unwind" fn find_added(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: the caller's promise; a node says what it is.
    unsafe {
        (*node).type_ == pg_sys::NodeTag::T_CoerceToDomain
            || ffi::unguarded::check_functions_in_node(node, Some(is_added), context)
            || ffi::unguarded::expression_tree_walker(node, find_added, context)
    }
}

/// Whether a function was made after initdb.
#[pg_guard]
unsafe extern "C-unwind" fn is_added(function: pg_sys::Oid, _context: *mut c_void) -> bool {
    function.to_u32() >= pg_sys::FirstNormalObjectId
}

/// Puts down the functions of an expression. Never stops early.
///
/// # Safety
/// `node` is an expression or null, `context` a vector of oids. Runs inside `ffi::guard`.
unsafe extern "C-unwind" fn collect_functions(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: the caller's promise.
    unsafe {
        ffi::unguarded::check_functions_in_node(node, Some(collect_function), context);
        ffi::unguarded::expression_tree_walker(node, collect_functions, context)
    }
}

/// # Safety
/// As [`collect_functions`].
#[pg_guard]
unsafe extern "C-unwind" fn collect_function(function: pg_sys::Oid, context: *mut c_void) -> bool {
    // SAFETY: the caller's promise.
    unsafe { (*context.cast::<Vec<pg_sys::Oid>>()).push(function) };
    false
}

/// Notes what is in an expression. Never stops early.
///
/// # Safety
/// `node` is an expression or null, `context` a [`CalledFunctions`]. Runs inside `ffi::guard`.
unsafe extern "C-unwind" fn walk(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: the caller's promise; a node says what it is.
    unsafe {
        let met = &mut *context.cast::<CalledFunctions>();
        match (*node).type_ {
            pg_sys::NodeTag::T_NextValueExpr => met.sequence = true,
            // The first of these are times, the others names.
            pg_sys::NodeTag::T_SQLValueFunction
                if (*node.cast::<pg_sys::SQLValueFunction>()).op
                    < pg_sys::SQLValueFunctionOp::SVFOP_CURRENT_ROLE =>
            {
                met.clock = true;
            }
            _ => met.clock |= reads_the_clock(node),
        }
        ffi::unguarded::check_functions_in_node(node, Some(note_function), context);
        ffi::unguarded::expression_tree_walker(node, walk, context)
    }
}

/// Whether a node makes a time of a text that says the moment.
///
/// # Safety
/// `node` is an expression. Runs inside `ffi::guard`.
unsafe fn reads_the_clock(node: *mut pg_sys::Node) -> bool {
    // SAFETY: the caller's promise; a node says what it is.
    unsafe {
        let arguments = match (*node).type_ {
            pg_sys::NodeTag::T_CoerceViaIO => {
                let coercion = &*node.cast::<pg_sys::CoerceViaIO>();
                if !is_time(coercion.resulttype) {
                    return false;
                }
                coercion.arg.cast::<pg_sys::Node>()
            }
            pg_sys::NodeTag::T_FuncExpr => {
                let call = &*node.cast::<pg_sys::FuncExpr>();
                if !is_input_function(call.funcid) {
                    return false;
                }
                call.args.cast()
            }
            _ => return false,
        };
        has_word(arguments, std::ptr::null_mut())
    }
}

/// Whether there is a constant text with one of the words.
///
/// # Safety
/// `node` is an expression, a list of them, or null. Runs inside `ffi::guard`.
unsafe extern "C-unwind" fn has_word(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: the caller's promise; a node says what it is, and a constant its type, of which the
    // value in a tree is neither compressed nor elsewhere.
    unsafe {
        match (*node).type_ {
            pg_sys::NodeTag::T_Const => {
                let constant = &*node.cast::<pg_sys::Const>();
                if constant.constisnull {
                    return false;
                }
                return match constant.consttype {
                    pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID => {
                        says_the_moment(content_of(constant.constvalue))
                    }
                    pg_sys::CSTRINGOID | pg_sys::UNKNOWNOID => says_the_moment(
                        CStr::from_ptr(constant.constvalue.cast_mut_ptr()).to_bytes(),
                    ),
                    _ => false,
                };
            }
            // Its argument is a name.
            pg_sys::NodeTag::T_FuncExpr
                if matches!(
                    (*node.cast::<pg_sys::FuncExpr>()).funcid.to_u32(),
                    pg_sys::F_CURRENT_SETTING_TEXT | pg_sys::F_CURRENT_SETTING_TEXT_BOOL
                ) =>
            {
                return false;
            }
            _ => {}
        }
        ffi::unguarded::expression_tree_walker(node, has_word, context)
    }
}

/// # Safety
/// As [`walk`].
#[pg_guard]
unsafe extern "C-unwind" fn note_function(function: pg_sys::Oid, context: *mut c_void) -> bool {
    // SAFETY: the caller's promise; the function is part of an expression, so it exists.
    unsafe {
        let met = &mut *context.cast::<CalledFunctions>();
        match function.to_u32() {
            pg_sys::F_NOW
            | pg_sys::F_TRANSACTION_TIMESTAMP
            | pg_sys::F_STATEMENT_TIMESTAMP
            | pg_sys::F_CLOCK_TIMESTAMP
            | pg_sys::F_TIMEOFDAY
            // The age as of today.
            | pg_sys::F_AGE_TIMESTAMP
            | pg_sys::F_AGE_TIMESTAMPTZ => met.clock = true,
            pg_sys::F_TXID_CURRENT
            | pg_sys::F_TXID_CURRENT_IF_ASSIGNED
            | pg_sys::F_TXID_CURRENT_SNAPSHOT
            | pg_sys::F_PG_CURRENT_XACT_ID
            | pg_sys::F_PG_CURRENT_XACT_ID_IF_ASSIGNED
            | pg_sys::F_PG_CURRENT_SNAPSHOT
            | pg_sys::F_AGE_XID
            | pg_sys::F_PG_BACKEND_PID
            | pg_sys::F_PG_MY_TEMP_SCHEMA
            | pg_sys::F_INET_CLIENT_PORT => met.transaction = true,
            pg_sys::F_NEXTVAL => met.sequence = true,
            _ => {
                met.volatile |=
                    pg_sys::func_volatile(function) as u8 == pg_sys::PROVOLATILE_VOLATILE
            }
        }
    }
    false
}
