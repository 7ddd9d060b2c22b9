//! SQL run inside a function of ours.
use crate::pg::rows::{ReceivedRows, RowDesc, TupleStore};
use crate::pg::transaction::snapshot::FreshSnapshot;
use crate::pg::value::by_reference::texts_of_datum;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use crate::pg::{ffi, unwinding};
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int};
use std::ptr;

/// A parameter: its type, and its value or NULL.
pub type Parameter<'v> = SqlValue<'v>;

thread_local! {
    /// How many connections are open.
    static LEVEL: Cell<u32> = const { Cell::new(0) };
}

/// An SPI connection. Its memory context is current while it lives, and goes
/// with it.
pub struct Connection {
    /// Its number, from 1: the server closes the one that was opened last.
    level: u32,
    /// Its memory, which results are in.
    memory: pg_sys::MemoryContext,
}

impl Connection {
    /// Connects; connections nest.
    pub fn open() -> Self {
        // SAFETY: closed when this is dropped, or by the abort after an error; SPI makes its
        // own memory the current context.
        let (code, memory) = unsafe { (pg_sys::SPI_connect(), pg_sys::CurrentMemoryContext) };
        assert_eq!(code, pg_sys::SPI_OK_CONNECT as c_int);
        let level = LEVEL.get() + 1;
        LEVEL.set(level);
        Self { level, memory }
    }

    /// Runs one statement that may write, and gives the number of rows it
    /// processed. Names in it must be qualified: it is run under the caller's
    /// `search_path`.
    pub fn execute(&self, sql: &str, parameters: &[Parameter<'_>]) -> u64 {
        self.run(sql, parameters, false)
    }

    /// Runs one statement that only reads, under the active snapshot, and gives the number of rows
    /// that it returned.
    pub fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> u64 {
        self.run(sql, parameters, true)
    }

    fn run(&self, sql: &str, parameters: &[Parameter<'_>], read_only: bool) -> u64 {
        let sql = text::to_server(sql);
        let mut types: Vec<pg_sys::Oid> = parameters.iter().map(Parameter::typid).collect();
        let (mut values, nulls) = split(parameters);
        // SAFETY: three arrays with a member for every parameter, whose values are of their
        // types; the server checks that the statement takes them.
        let code = unsafe {
            pg_sys::SPI_execute_with_args(
                sql.as_ptr(),
                parameters.len() as c_int,
                types.as_mut_ptr(),
                values.as_mut_ptr(),
                nulls.as_ptr(),
                read_only,
                0,
            )
        };
        assert!(code > 0, "SPI code {code}");
        // SAFETY: reads a backend-local variable, which the call has set.
        unsafe { pg_sys::SPI_processed }
    }

    /// Runs a kept plan that writes, and gives the number of rows it processed.
    ///
    /// # Panics
    /// If the plan was prepared with parameters of other types.
    pub fn execute_plan(&self, plan: &SpiPlan, parameters: &[Parameter<'_>]) -> u64 {
        plan.check_parameters(parameters);
        let (mut values, nulls) = split(parameters);
        // SAFETY: a kept plan, which takes as many parameters of these types.
        let code = unsafe {
            pg_sys::SPI_execute_plan(plan.plan, values.as_mut_ptr(), nulls.as_ptr(), false, 0)
        };
        assert!(code > 0, "SPI code {code}");
        // SAFETY: reads a backend-local variable, which the call has set.
        unsafe { pg_sys::SPI_processed }
    }

    /// Column `column` (from 1) of the first row that the last statement
    /// returned.
    ///
    /// # Panics
    /// If the last statement was not this connection's, or returned no row or no such column.
    pub fn first(&self, column: c_int) -> Option<pg_sys::Datum> {
        self.first_with_type(column).0
    }

    /// Likewise, with its type.
    fn first_with_type(&self, column: c_int) -> (Option<pg_sys::Datum>, pg_sys::Oid) {
        let table = self.returned();
        // SAFETY: the table has the row and, as is checked, the column that are read.
        unsafe {
            assert!(
                (1..=(*table.tupdesc).natts).contains(&column),
                "the last statement returned no such column"
            );
            let mut null = false;
            let value = pg_sys::SPI_getbinval(*table.vals, table.tupdesc, column, &raw mut null);
            let typid = pg_sys::SPI_gettypeid(table.tupdesc, column);
            ((!null).then_some(value), typid)
        }
    }

    /// The first row that the last statement returned: the names of its columns, in the server's
    /// encoding, and their values.
    ///
    /// # Panics
    /// As [`Connection::first`].
    pub fn first_row(&self) -> Vec<(&[u8], SqlValue<'_>)> {
        let table = self.returned();
        // SAFETY: the table has the row that is read, and stays until the connection closes. Each
        // member of its descriptor has a name that ends with a NUL, and the type of its values.
        let column = |number| unsafe {
            let attribute = ffi::attribute(table.tupdesc, number - 1);
            let mut null = false;
            let value = pg_sys::SPI_getbinval(*table.vals, table.tupdesc, number, &raw mut null);
            let value = (!null).then_some(value);
            (
                CStr::from_ptr(attribute.attname.data.as_ptr()).to_bytes(),
                SqlValue::of_datum(attribute.atttypid, value),
            )
        };
        // SAFETY: the table has its descriptor.
        let count = unsafe { (*table.tupdesc).natts };
        (1..=count).map(column).collect()
    }

    /// What the last statement returned: at least one row.
    ///
    /// # Panics
    /// If the last statement was not this connection's, or returned no row.
    fn returned(&self) -> &pg_sys::SPITupleTable {
        // SAFETY: the table is null, or that of the last statement of the connection that
        // was opened last and is open: SPI puts back what was there before. It is in a child
        // of its connection's memory, by which it is seen to be ours, and stays until that goes.
        let table = unsafe {
            let table = pg_sys::SPI_tuptable.as_ref();
            table.filter(|table| (*table.tuptabcxt).parent == self.memory)
        };
        let table = table.filter(|table| table.numvals > 0);
        table.expect("the last statement returned no row")
    }

    /// As [`Connection::first`], of a column of this type.
    pub fn first_of(&self, column: c_int, wanted: pg_sys::Oid) -> Option<pg_sys::Datum> {
        let (value, typid) = self.first_with_type(column);
        assert_eq!(typid, wanted, "column {column} is of another type");
        value
    }

    /// A text, as [`Connection::first`].
    pub fn first_text(&self, column: c_int) -> Option<String> {
        let value = self.first_of(column, pg_sys::TEXTOID)?;
        // SAFETY: a text, in the connection's memory.
        Some(unsafe { text::from_datum(value) })
    }

    /// A text[], likewise.
    pub fn first_texts(&self, column: c_int) -> Option<Vec<Option<String>>> {
        let value = self.first_of(column, pg_sys::TEXTARRAYOID)?;
        // SAFETY: a text[], in the connection's memory.
        Some(unsafe { texts_of_datum(value) })
    }

    /// An oid, likewise.
    pub fn first_oid(&self, column: c_int) -> Option<pg_sys::Oid> {
        let value = self.first_of(column, pg_sys::OIDOID)?;
        Some(pg_sys::Oid::from(value.value() as u32))
    }

    /// Of all rows that the last statement returned, the oid in the first column.
    ///
    /// # Panics
    /// If it is of another type, and as [`Connection::first`].
    pub fn all_oids(&self) -> Vec<pg_sys::Oid> {
        let table = self.returned();
        // SAFETY: the table has its descriptor, with at least one column, and as many rows as it
        // says; they stay until the connection closes.
        let oid = |row: usize| unsafe {
            let mut null = false;
            let row = *table.vals.add(row);
            let value = pg_sys::SPI_getbinval(row, table.tupdesc, 1, &raw mut null);
            (!null).then(|| pg_sys::Oid::from(value.value() as u32))
        };
        // SAFETY: as above.
        let typid = unsafe { pg_sys::SPI_gettypeid(table.tupdesc, 1) };
        assert_eq!(typid, pg_sys::OIDOID, "column 1 is of another type");
        (0..table.numvals as usize).filter_map(oid).collect()
    }

    /// Of all rows that the last statement returned, the text in the first column.
    ///
    /// # Panics
    /// As [`Connection::all_oids`].
    pub fn all_texts(&self) -> Vec<String> {
        let table = self.returned();
        // SAFETY: as in `all_oids`; a text, as is checked, in the connection's memory.
        let text = |row: usize| unsafe {
            let mut null = false;
            let row = *table.vals.add(row);
            let value = pg_sys::SPI_getbinval(row, table.tupdesc, 1, &raw mut null);
            (!null).then(|| text::from_datum(value))
        };
        // SAFETY: as in `all_oids`.
        let typid = unsafe { pg_sys::SPI_gettypeid(table.tupdesc, 1) };
        assert_eq!(typid, pg_sys::TEXTOID, "column 1 is of another type");
        (0..table.numvals as usize).filter_map(text).collect()
    }

    /// A bytea, likewise, copied.
    pub fn first_bytes(&self, column: c_int) -> Option<Vec<u8>> {
        let value = self.first_of(column, pg_sys::BYTEAOID)?;
        // SAFETY: a bytea, which is laid out as a text, in the connection's memory.
        unsafe {
            let whole = pg_sys::pg_detoast_datum_packed(value.cast_mut_ptr());
            Some(text::bytes_of(pg_sys::Datum::from(whole)).to_vec())
        }
    }

    /// Runs a kept plan that selects, and gives every row to the receiver. With `read_only`
    /// it reads under the active snapshot, else under one of its own.
    ///
    /// # Safety
    /// The receiver is live, and stays where it is; the parameters are those that the
    /// plan was prepared with.
    pub unsafe fn stream(
        &self,
        plan: &SpiPlan,
        parameters: &[Parameter<'_>],
        read_only: bool,
        receiver: *mut pg_sys::DestReceiver,
    ) {
        // SAFETY: the caller's promise.
        let code = unsafe { self.try_stream(plan, parameters, read_only, receiver) };
        assert!(code >= 0, "SPI code {code}");
    }

    /// Runs a kept plan of any kind, and keeps every row. One that only reads does so under the active
    /// snapshot. Returns the code that SPI has for what
    /// it did or could not do.
    ///
    /// # Panics
    /// If the plan was prepared with parameters of other types.
    pub fn receive(
        &self,
        plan: &SpiPlan,
        parameters: &[Parameter<'_>],
        read_only: bool,
        rows: &mut Box<ReceivedRows>,
    ) -> c_int {
        plan.check_parameters(parameters);
        // SAFETY: the receiver is in a box of its own; the parameters are the plan's, as was
        // checked.
        unsafe { self.try_stream(plan, parameters, read_only, rows.raw()) }
    }

    /// # Safety
    /// As [`Connection::stream`].
    unsafe fn try_stream(
        &self,
        plan: &SpiPlan,
        parameters: &[Parameter<'_>],
        read_only: bool,
        receiver: *mut pg_sys::DestReceiver,
    ) -> c_int {
        let options = pg_sys::SPIExecuteOptions {
            params: parameter_list(parameters),
            read_only,
            dest: receiver,
            ..Default::default()
        };
        // SAFETY: the caller's promise.
        unsafe { pg_sys::SPI_execute_plan_extended(plan.plan, &raw const options) }
    }

    /// Runs a kept plan without parameters that inserts, and gives the number
    /// of rows that went in. What it returns goes into `returned`.
    ///
    /// # Errors
    /// 42804 if it returns other columns than the store's.
    pub fn insert(&self, plan: &SpiPlan, returned: Option<&TupleStore>) -> u64 {
        plan.check_parameters(&[]);
        // SAFETY: a kept plan without parameters; receiver and store outlive the execution. The
        // server compares the columns that it returns with the store's.
        unsafe {
            let mut options = pg_sys::SPIExecuteOptions::default();
            if let Some(store) = returned {
                let memory = pg_sys::CurrentMemoryContext;
                options.dest = pg_sys::CreateDestReceiver(pg_sys::CommandDest::DestTuplestore);
                ffi::guard(|| {
                    ffi::unguarded::SetTuplestoreDestReceiverParams(
                        options.dest,
                        store.raw(),
                        memory,
                        false,
                        store.desc().raw(),
                        c"a statement returns other columns than are kept of it".as_ptr(),
                    );
                });
            }
            let code = pg_sys::SPI_execute_plan_extended(plan.plan, &raw const options);
            assert!(code > 0, "SPI code {code}");
            pg_sys::SPI_processed
        }
    }
}

/// The values of parameters, made in the current context, and which of them are NULL.
fn split(parameters: &[Parameter<'_>]) -> (Vec<pg_sys::Datum>, Vec<c_char>) {
    let values = parameters.iter().map(|parameter| parameter.to_datum());
    values
        .map(|value| match value {
            Some(value) => (value, b' ' as c_char),
            None => (pg_sys::Datum::null(), b'n' as c_char),
        })
        .unzip()
}

/// Core's form of parameters, in the current memory; null if there are none.
pub fn parameter_list(parameters: &[Parameter<'_>]) -> pg_sys::ParamListInfo {
    if parameters.is_empty() {
        return ptr::null_mut();
    }
    // SAFETY: core allocates a list with as many members.
    unsafe {
        let list = pg_sys::makeParamList(parameters.len() as c_int);
        let members = (*list).params.as_mut_ptr();
        for (i, parameter) in parameters.iter().enumerate() {
            let value = parameter.to_datum();
            *members.add(i) = pg_sys::ParamExternData {
                value: value.unwrap_or(pg_sys::Datum::null()),
                isnull: value.is_none(),
                pflags: pg_sys::PARAM_FLAG_CONST as u16,
                ptype: parameter.typid(),
            };
        }
        list
    }
}

impl Connection {
    /// Runs a kept plan without parameters that writes, under a snapshot instead of one
    /// that is taken now, and gives the number of rows that it wrote. What our own
    /// transaction did so far is visible.
    pub fn write_under(&self, plan: &SpiPlan, _snapshot: &FreshSnapshot) -> u64 {
        plan.check_parameters(&[]);
        // SAFETY: a kept plan without parameters; a snapshot is active, of which a copy is made.
        unsafe {
            let code = pg_sys::SPI_execute_snapshot(
                plan.plan,
                ptr::null_mut(),
                ptr::null(),
                pg_sys::GetActiveSnapshot(),
                ptr::null_mut(),
                false,
                true,
                0,
            );
            assert!(code > 0, "SPI code {code}");
            pg_sys::SPI_processed
        }
    }
}

/// Several statements that are one to triggers and constraints: what would be
/// done at the end of each is done once, at the end of all, and statement
/// triggers fire once.
pub struct AfterTriggerScope<'c>(&'c Connection);

impl<'c> AfterTriggerScope<'c> {
    /// Opens a query level of its own for AFTER triggers.
    pub fn begin(connection: &'c Connection) -> Self {
        // SAFETY: closed by `end`, or by the abort after an error.
        unsafe { pg_sys::AfterTriggerBeginQuery() };
        Self(connection)
    }

    /// As [`Connection::insert`], with the AFTER triggers left waiting.
    ///
    /// # Panics
    /// If it returns other columns than the store's.
    pub fn insert(&self, plan: &SpiPlan, returned: Option<&TupleStore>) -> u64 {
        plan.check_parameters(&[]);
        // SAFETY: a kept plan without parameters, as was checked; the rows that it returned
        // live until they are freed here, and have the store's columns, as is checked.
        unsafe {
            let none = ptr::null_mut();
            let code = pg_sys::SPI_execute_snapshot(
                plan.plan,
                ptr::null_mut(),
                ptr::null(),
                none,
                none,
                false,
                false,
                0,
            );
            assert!(code > 0, "SPI code {code}");
            let count = pg_sys::SPI_processed;
            if let (Some(store), Some(table)) = (returned, pg_sys::SPI_tuptable.as_mut()) {
                let columns = RowDesc::of_server(table.tupdesc);
                store.desc().check_same(&columns);
                for i in 0..count as usize {
                    pg_sys::tuplestore_puttuple(store.raw(), *table.vals.add(i));
                }
                pg_sys::SPI_freetuptable(table);
            }
            count
        }
    }

    /// Does what waits.
    pub fn end(self) {
        let Self(_connection) = self;
        let _snapshot = FreshSnapshot::push();
        // SAFETY: the level that `begin` opened; the executor state is what
        // core's triggers find their tables in, and is closed as its own is.
        unsafe {
            let estate = pg_sys::CreateExecutorState();
            pg_sys::AfterTriggerEndQuery(estate);
            pg_sys::ExecCloseResultRelations(estate);
            pg_sys::ExecResetTupleTable((*estate).es_tupleTable, false);
            pg_sys::FreeExecutorState(estate);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let newest = LEVEL.replace(self.level - 1) == self.level;
        if !unwinding() {
            assert!(
                newest,
                "connections are closed in another order than they were opened"
            );
            // SAFETY: opened by us, and of those that are open the newest, which is the one
            // that the server closes.
            unsafe { pg_sys::SPI_finish() };
        }
    }
}

/// A prepared statement that outlives its connection.
pub struct SpiPlan {
    plan: pg_sys::SPIPlanPtr,
    /// The types of its parameters.
    types: Vec<pg_sys::Oid>,
}

impl SpiPlan {
    /// # Panics
    /// If the plan was prepared with parameters of other types.
    fn check_parameters(&self, parameters: &[Parameter<'_>]) {
        assert!(
            self.types
                .iter()
                .copied()
                .eq(parameters.iter().map(Parameter::typid)),
            "a plan is executed with other parameters than it was prepared with"
        );
    }

    /// Whether the plan, as it was last executed, works on this table. Statements
    /// name tables, and a schema may be renamed between two look-ups of a name.
    pub fn concerns(&self, table: pg_sys::Oid) -> bool {
        // SAFETY: a kept plan has its sources, and each its list of tables.
        unsafe {
            let sources = pg_sys::SPI_plan_get_plan_sources(self.plan);
            !sources.is_null()
                && (0..(*sources).length as usize).any(|i| {
                    let source = (*(*sources).elements.add(i)).ptr_value;
                    let source = source.cast::<pg_sys::CachedPlanSource>();
                    pg_sys::list_member_oid((*source).relationOids, table)
                })
        }
    }

    /// Plans a statement without parameters now, so that the settings that hold
    /// meanwhile decide how it is run. Executing it does not plan it again, unless
    /// something that it uses changes in between.
    pub fn plan_now(&self, _connection: &Connection) {
        // SAFETY: a kept plan inside a connection, where the stores are registered that
        // it reads; the reference is given back to the owner that it was taken for.
        unsafe {
            let plan = pg_sys::SPI_plan_get_cached_plan(self.plan);
            if !plan.is_null() {
                pg_sys::ReleaseCachedPlan(plan, pg_sys::CurrentResourceOwner);
            }
        }
    }

    /// Plans a statement for these parameters and lets go of the plan. What stays are the
    /// locks that the server takes to plan it: those of the execution, on each table that the
    /// parameters leave in the plan, and on a table before its indexes.
    pub fn lock_tables(&self, _connection: &Connection, parameters: &[Parameter<'_>]) {
        self.check_parameters(parameters);
        // SAFETY: a kept plan of one statement, inside a connection, with the parameters that
        // it was prepared with. The reference is given back to the owner that it was
        // taken for.
        unsafe {
            let sources = pg_sys::SPI_plan_get_plan_sources(self.plan);
            let source = (*(*sources).elements).ptr_value;
            let owner = pg_sys::CurrentResourceOwner;
            let parameters = parameter_list(parameters);
            let plan = pg_sys::GetCachedPlan(source.cast(), parameters, owner, ptr::null_mut());
            pg_sys::ReleaseCachedPlan(plan, owner);
        }
    }

    /// Prepares a statement without parameters.
    pub fn prepare(connection: &Connection, sql: &str) -> Self {
        Self::prepare_with(connection, sql, &[])
    }

    /// Prepares a statement with parameters of these types.
    pub fn prepare_with(_connection: &Connection, sql: &str, types: &[pg_sys::Oid]) -> Self {
        let sql = text::to_server(sql);
        let mut types = types.to_vec();
        // SAFETY: inside a connection; as many types as it is told.
        let plan = unsafe {
            let count = types.len() as c_int;
            let plan = pg_sys::SPI_prepare(sql.as_ptr(), count, types.as_mut_ptr());
            let code = pg_sys::SPI_result;
            assert!(!plan.is_null(), "SPI code {code}");
            pg_sys::SPI_keepplan(plan);
            plan
        };
        Self { plan, types }
    }
}

impl Drop for SpiPlan {
    fn drop(&mut self) {
        // SAFETY: kept, and freed once. No abort would free it, so this is done
        // while unwinding, too; it needs no resource owner.
        unsafe { pg_sys::SPI_freeplan(self.plan) };
    }
}
