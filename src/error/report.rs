//! A report of ours, in PostgreSQL's terms.
use std::panic::panic_any;

/// The SQLSTATEs that the extension raises itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlState {
    /// `23I01`: a stored row differs from the payload under its key.
    Conflict,
    /// `23I02`: a request key arrives with another request.
    KeyReused,
    /// `55I01`: a key is being worked on elsewhere.
    KeyInProgress,
    /// `21000`
    CardinalityViolation,
    /// `22004`
    NullValueNotAllowed,
    /// `22023`
    InvalidParameterValue,
    /// `22P02`
    InvalidTextRepresentation,
    /// `25001`
    ActiveSqlTransaction,
    /// `23502`
    NotNullViolation,
    /// `23514`
    CheckViolation,
    /// `27000`
    TriggeredDataChangeViolation,
    /// `39P01`
    TriggerProtocolViolated,
    /// `40001`
    SerializationFailure,
    /// `42501`
    InsufficientPrivilege,
    /// `42701`
    DuplicateColumn,
    /// `42703`
    UndefinedColumn,
    /// `42704`
    UndefinedObject,
    /// `42710`
    DuplicateObject,
    DuplicateTable,
    /// `42804`
    DatatypeMismatch,
    /// `42809`
    WrongObjectType,
    /// `428C9`
    GeneratedAlways,
    /// `42601`
    SyntaxError,
    /// `42602`
    InvalidName,
    /// `42883`
    UndefinedFunction,
    /// `42P01`
    UndefinedTable,
    /// `42P18`
    IndeterminateDatatype,
    /// `42P10`
    InvalidColumnReference,
    /// `0A000`
    FeatureNotSupported,
    /// `54000`
    ProgramLimitExceeded,
    /// `55000`
    ObjectNotInPrerequisiteState,
    /// `01000`: for warnings.
    Warning,
}

impl SqlState {
    /// The five characters.
    pub const fn code(self) -> &'static [u8; 5] {
        match self {
            Self::Conflict => b"23I01",
            Self::KeyReused => b"23I02",
            Self::KeyInProgress => b"55I01",
            Self::CardinalityViolation => b"21000",
            Self::NullValueNotAllowed => b"22004",
            Self::InvalidParameterValue => b"22023",
            Self::InvalidTextRepresentation => b"22P02",
            Self::ActiveSqlTransaction => b"25001",
            Self::NotNullViolation => b"23502",
            Self::CheckViolation => b"23514",
            Self::TriggeredDataChangeViolation => b"27000",
            Self::TriggerProtocolViolated => b"39P01",
            Self::SerializationFailure => b"40001",
            Self::InsufficientPrivilege => b"42501",
            Self::DuplicateColumn => b"42701",
            Self::UndefinedColumn => b"42703",
            Self::UndefinedObject => b"42704",
            Self::DuplicateObject => b"42710",
            Self::DuplicateTable => b"42P07",
            Self::DatatypeMismatch => b"42804",
            Self::WrongObjectType => b"42809",
            Self::GeneratedAlways => b"428C9",
            Self::SyntaxError => b"42601",
            Self::InvalidName => b"42602",
            Self::IndeterminateDatatype => b"42P18",
            Self::UndefinedFunction => b"42883",
            Self::UndefinedTable => b"42P01",
            Self::InvalidColumnReference => b"42P10",
            Self::FeatureNotSupported => b"0A000",
            Self::ProgramLimitExceeded => b"54000",
            Self::ObjectNotInPrerequisiteState => b"55000",
            Self::Warning => b"01000",
        }
    }

    /// Core's packed form (`MAKE_SQLSTATE` in `elog.h`): six bits a character,
    /// the first character lowest.
    pub const fn packed(self) -> i32 {
        let code = self.code();
        let mut packed = 0;
        let mut i = 0;
        while i < 5 {
            packed |= (((code[i] - b'0') & 0x3f) as i32) << (6 * i);
            i += 1;
        }
        packed
    }
}

/// One error of ours with all the fields a driver can show.
///
/// Texts are UTF-8; they are converted to the server's encoding when raised.
#[derive(Debug)]
pub struct Report {
    pub(super) sqlstate: SqlState,
    pub(super) message: String,
    pub(super) detail: Option<String>,
    pub(super) hint: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) table: Option<String>,
    pub(super) column: Option<String>,
    pub(super) constraint: Option<String>,
}

impl Report {
    /// A report with its primary message: lower case, no full stop.
    pub fn new(sqlstate: SqlState, message: impl Into<String>) -> Self {
        Self {
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
            schema: None,
            table: None,
            column: None,
            constraint: None,
        }
    }

    /// 40001, in core's own words: what is stored in the table is not for the
    /// transaction's snapshot to see.
    pub fn could_not_serialize(schema: &str, table: &str) -> Self {
        let message = "could not serialize access due to concurrent update";
        Self::new(SqlState::SerializationFailure, message).table(schema, table)
    }

    /// DETAIL, whole sentences.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// One more line of DETAIL.
    pub fn more_detail(mut self, line: &str) -> Self {
        self.detail = Some(match self.detail {
            Some(detail) => format!("{detail}\n{line}"),
            None => line.to_owned(),
        });
        self
    }

    /// HINT, whole sentences.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The schema and table fields.
    pub fn table(mut self, schema: &str, table: &str) -> Self {
        self.schema = Some(schema.to_owned());
        self.table = Some(table.to_owned());
        self
    }

    /// The column field.
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// The constraint field: the arbiter.
    pub fn constraint(mut self, constraint: impl Into<String>) -> Self {
        self.constraint = Some(constraint.into());
        self
    }

    /// The SQLSTATE.
    pub fn sqlstate(&self) -> SqlState {
        self.sqlstate
    }

    /// The primary message, with the detail behind it.
    pub fn to_text(&self) -> String {
        match &self.detail {
            Some(detail) => format!("{}: {detail}", self.message),
            None => self.message.clone(),
        }
    }

    /// The hint, if it has one.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Raises the report as an ERROR. Must happen inside
    /// [`with_error_capture`](super::with_error_capture).
    pub fn raise(self) -> ! {
        panic_any(self)
    }
}

/// For a caller that cannot go on with an error.
pub trait OrRaise<T> {
    /// What there is; or the report is raised, as [`Report::raise`] does.
    fn or_raise(self) -> T;
}

impl<T> OrRaise<T> for Result<T, Box<Report>> {
    fn or_raise(self) -> T {
        self.unwrap_or_else(|report| report.raise())
    }
}
