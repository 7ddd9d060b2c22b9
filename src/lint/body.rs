//! What a PL/pgSQL trigger function assigns to `NEW`.
//!
//! Its source is read token by token, as far as assignments, and the IFs around them,
//! need it. What it cannot follow it does not guess: [`TriggerBody::unclear`] says so.
use super::tokens::{Token, tokens};
use crate::pg::interrupt;
use std::collections::HashSet;

/// Set of events in which a statement is reached.
const INSERT: u8 = 1;
const UPDATE: u8 = 2;
const DELETE: u8 = 4;
const ANY: u8 = INSERT | UPDATE | DELETE;

/// Functions whose value is the time, and goes on within a statement.
const WALL_CLOCK_FUNCTIONS: [&str; 2] = ["clock_timestamp", "timeofday"];

/// Functions and words whose value is the time of the statement, or of its transaction.
const CLOCK_FUNCTIONS: [&str; 8] = [
    "now",
    "transaction_timestamp",
    "statement_timestamp",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
];

/// Functions that give another value with every call.
const VOLATILE_FUNCTIONS: [&str; 13] = [
    "nextval",
    "random",
    "gen_random_uuid",
    "gen_random_bytes",
    "uuid_generate_v1",
    "uuid_generate_v1mc",
    "uuid_generate_v4",
    "uuid_generate_v7",
    "uuidv4",
    "uuidv7",
    "txid_current",
    "pg_current_xact_id",
    "random_normal",
];

/// Whether a value is another one with every attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// It is not, as far as can be seen.
    Payload,
    /// It is the time of the transaction, or of the statement.
    Clock,
    /// It is the time of this very moment.
    WallClock,
    /// It comes from a sequence, or is random.
    Volatile,
}

/// `NEW.column := …`
#[derive(Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The column of `NEW`.
    pub column: String,
    /// Whether its value is made anew.
    pub value_source: ValueSource,
    /// Whether its value depends on what the row brings for this very column: it is part
    /// of the expression, or of a condition around it.
    pub depends_on_itself: bool,
    /// Whether it is computed from what the row brings for this column, other than to put
    /// something in place of NULL.
    pub rewritten: bool,
    events: u8,
}

impl Assignment {
    /// What a compiled trigger function does to one of its arguments, whatever fires it.
    pub fn compiled(column: &str, value_source: ValueSource, depends_on_itself: bool) -> Self {
        Self {
            column: column.to_owned(),
            value_source,
            depends_on_itself,
            rewritten: false,
            events: ANY,
        }
    }

    /// Whether it is reached when a row is inserted.
    pub fn on_insert(&self) -> bool {
        self.events & INSERT != 0
    }

    /// Whether it is reached when a row is updated.
    pub fn on_update(&self) -> bool {
        self.events & UPDATE != 0
    }
}

/// What a function does to `NEW`.
#[derive(Debug, Default)]
pub struct TriggerBody {
    /// What it assigns, in its order.
    pub assignments: Vec<Assignment>,
    /// Whether it assigns `NEW` as a whole, or in a way that cannot be followed.
    pub unclear: bool,
}

impl TriggerBody {
    /// Reads a function's source.
    pub fn read(source: &str) -> Self {
        let mut reader = Reader {
            tokens: tokens(source),
            at: 0,
            frames: Vec::new(),
            body: Self::default(),
        };
        while reader.at < reader.tokens.len() {
            interrupt::check();
            reader.statement();
        }
        reader.body
    }
}

/// An IF that is open.
struct Frame {
    /// The events in which the branch at hand is reached.
    events: u8,
    /// Those in which a later branch may be.
    rest: u8,
    /// The columns of NEW that its conditions look at.
    columns: HashSet<String>,
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    frames: Vec<Frame>,
    body: TriggerBody,
}

impl Reader {
    /// Reads one statement, or the word that begins a block.
    fn statement(&mut self) {
        let word = match &self.tokens[self.at] {
            Token::Name(word) => word.clone(),
            // <<label>>, #option value
            Token::Sign("<<" | "#") => {
                self.at += 3;
                return;
            }
            _ => {
                self.at += 1;
                return;
            }
        };
        match word.as_str() {
            "begin" | "declare" | "loop" | "then" | "exception" => self.at += 1,
            "if" => {
                self.at += 1;
                let condition = self.until("then");
                self.open(&condition);
            }
            "elsif" | "elseif" => {
                self.at += 1;
                let condition = self.until("then");
                self.branch(&condition);
            }
            "else" => {
                self.at += 1;
                self.branch(&[]);
            }
            "when" => {
                self.at += 1;
                self.until("then");
            }
            "case" => {
                self.at += 1;
                let subject = self.until("when");
                self.body.unclear |= subject.iter().any(|token| token.is("tg_op"));
                // What WHEN tests is read as the next statement.
                self.until("then");
            }
            "for" | "foreach" | "while" => {
                self.at += 1;
                self.until("loop");
            }
            "end" => {
                if self.peek(1).is_some_and(|token| token.is("if")) {
                    self.frames.pop();
                }
                self.rest();
            }
            "new" => self.assignment(),
            _ => {
                let tokens = self.rest();
                self.targets_of_into(&tokens);
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead)
    }

    /// The tokens up to a word, which is passed, not counting what is within a CASE.
    fn until(&mut self, word: &str) -> Vec<Token> {
        let first = self.at;
        let mut depth = 0_usize;
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            if depth == 0 && token.is(word) {
                return self.tokens[first..self.at - 1].to_vec();
            } else if token.is("case") {
                depth += 1;
            } else if token.is("end") {
                depth = depth.saturating_sub(1);
            }
        }
        self.tokens[first..].to_vec()
    }

    /// The tokens up to the end of the statement, which is passed.
    fn rest(&mut self) -> Vec<Token> {
        let first = self.at;
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            if token.is_sign(";") {
                return self.tokens[first..self.at - 1].to_vec();
            }
        }
        self.tokens[first..].to_vec()
    }

    fn open(&mut self, condition: &[Token]) {
        let (events, rest) = events_of(condition);
        self.frames.push(Frame {
            events,
            rest,
            columns: columns_of_new(condition).collect(),
        });
    }

    /// The next branch of the IF at hand. ELSE of a CASE, which has none, changes
    /// nothing that matters.
    fn branch(&mut self, condition: &[Token]) {
        if let Some(frame) = self.frames.last_mut() {
            let (events, rest) = events_of(condition);
            frame.events = frame.rest & events;
            frame.rest &= rest;
            frame.columns.extend(columns_of_new(condition));
        }
    }

    /// `NEW.column := …;`, `NEW := …;`
    fn assignment(&mut self) {
        let tokens = self.rest();
        let assigns = |token: Option<&Token>| {
            token.is_some_and(|token| token.is_sign(":=") || token.is_sign("="))
        };
        let (Some(Token::Sign(".")), Some(Token::Name(column))) = (tokens.get(1), tokens.get(2))
        else {
            self.body.unclear |= assigns(tokens.get(1));
            return;
        };
        let whole = assigns(tokens.get(3));
        let Some(sign) = tokens.iter().position(|token| assigns(Some(token))) else {
            return;
        };
        let value = &tokens[sign + 1..];
        let within = columns_of_new(value).any(|name| name == *column);
        let fills = value.first().is_some_and(|token| token.is("coalesce"));
        self.add(column, value, within, !whole || (within && !fills));
    }

    /// `SELECT … INTO NEW.column, …`
    fn targets_of_into(&mut self, tokens: &[Token]) {
        let mut i = 0;
        while i < tokens.len() {
            if tokens[i].is("into") {
                i += 1 + usize::from(tokens.get(i + 1).is_some_and(|token| token.is("strict")));
                while tokens.get(i).is_some_and(|token| token.is("new")) {
                    if !tokens.get(i + 1).is_some_and(|token| token.is_sign(".")) {
                        self.body.unclear = true;
                        break;
                    }
                    if let Some(Token::Name(column)) = tokens.get(i + 2) {
                        // The targets themselves are not read.
                        let others = [&tokens[..i], tokens.get(i + 3..).unwrap_or(&[])].concat();
                        let within = columns_of_new(&others).any(|name| name == *column);
                        self.add(column, &others, within, within);
                    }
                    i += 3 + usize::from(tokens.get(i + 3).is_some_and(|token| token.is_sign(",")));
                }
            }
            i += 1;
        }
    }

    fn add(&mut self, column: &str, value: &[Token], within: bool, rewritten: bool) {
        interrupt::check();
        let frames = &self.frames;
        let asked = frames.iter().any(|frame| frame.columns.contains(column));
        let events = frames.iter().fold(ANY, |all, frame| all & frame.events);
        self.body.assignments.push(Assignment {
            column: column.to_owned(),
            value_source: value_source_of(value),
            depends_on_itself: within || asked,
            rewritten,
            events,
        });
    }
}

/// The events in which a condition may be true, and those in which it may be false.
/// Only `TG_OP = '…'` tells; `AND` narrows.
fn events_of(condition: &[Token]) -> (u8, u8) {
    let Some(first) = condition.iter().position(|token| token.is("tg_op")) else {
        return (ANY, ANY);
    };
    let has = |word: &str| condition.iter().any(|token| token.is(word));
    if has("not") {
        return (ANY, ANY);
    }
    let narrowed = has("and");
    let named = condition[first..]
        .iter()
        .take_while(|token| !token.is("and"))
        .fold(0, |all, token| all | event(token));
    if has("or") {
        // Those that are named, if nothing else is asked.
        let only = condition.iter().all(|token| {
            token.is("tg_op")
                || token.is("or")
                || event(token) != 0
                || ["=", "(", ")"].iter().any(|sign| token.is_sign(sign))
        });
        return if only {
            (named, ANY & !named)
        } else {
            (ANY, ANY)
        };
    }
    let events = match condition.get(first + 1) {
        Some(token) if token.is_sign("=") || token.is("in") => named,
        Some(token) if token.is_sign("<>") => ANY & !named,
        _ => return (ANY, ANY),
    };
    (events, if narrowed { ANY } else { ANY & !events })
}

fn event(token: &Token) -> u8 {
    match token {
        Token::Text(text) if text == "INSERT" => INSERT,
        Token::Text(text) if text == "UPDATE" => UPDATE,
        Token::Text(text) if text == "DELETE" => DELETE,
        _ => 0,
    }
}

/// The columns in `NEW.column`.
fn columns_of_new(tokens: &[Token]) -> impl Iterator<Item = String> + '_ {
    tokens.windows(3).filter_map(|three| match three {
        [new, dot, Token::Name(column)] if new.is("new") && dot.is_sign(".") => {
            Some(column.clone())
        }
        _ => None,
    })
}

/// Whether an expression gives another value with every attempt.
fn value_source_of(tokens: &[Token]) -> ValueSource {
    let is_column = |i: usize| {
        i >= 2 && tokens[i - 1].is_sign(".") && (tokens[i - 2].is("new") || tokens[i - 2].is("old"))
    };
    let mut found = ValueSource::Payload;
    for (i, token) in tokens.iter().enumerate() {
        let Token::Name(name) = token else {
            continue;
        };
        if is_column(i) {
            continue;
        }
        if WALL_CLOCK_FUNCTIONS.contains(&name.as_str()) {
            return ValueSource::WallClock;
        }
        if CLOCK_FUNCTIONS.contains(&name.as_str()) {
            return ValueSource::Clock;
        }
        if VOLATILE_FUNCTIONS.contains(&name.as_str()) {
            found = ValueSource::Volatile;
        }
    }
    found
}
