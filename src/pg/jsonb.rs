//! Reading and building jsonb with core's own functions.
use super::ffi;
use pgrx::pg_sys;
use std::ffi::{CStr, c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr;

/// A detoasted jsonb document, or a container inside one.
#[derive(Clone, Copy)]
pub struct Container(*mut pg_sys::JsonbContainer);

/// What a document or container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// A single string, number, boolean or null.
    Scalar,
}

impl Kind {
    /// The word for error texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::Scalar => "scalar",
        }
    }
}

impl Container {
    /// The document in a jsonb datum, detoasted into the current context.
    ///
    /// # Safety
    /// `datum` is a non-null value of type jsonb.
    pub unsafe fn of_datum(datum: pg_sys::Datum) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let document = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
            Self(&raw mut (*document).root)
        }
    }

    fn header(self) -> u32 {
        // SAFETY: a valid container.
        unsafe { (*self.0).header }
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        if self.header() & pg_sys::JB_FSCALAR != 0 {
            Kind::Scalar
        } else if self.header() & pg_sys::JB_FARRAY != 0 {
            Kind::Array
        } else {
            Kind::Object
        }
    }

    /// How many members or fields it has.
    pub fn len(self) -> usize {
        (self.header() & pg_sys::JB_CMASK) as usize
    }

    /// Calls `visit` with every member of an array, in order.
    pub fn each_member(self, mut visit: impl FnMut(&Value)) {
        self.walk(|token, value| {
            if token == pg_sys::JsonbIteratorToken::WJB_ELEM {
                visit(value);
            }
        });
    }

    /// Calls `visit` with every field of an object, in jsonb's order of names.
    /// The name is in the server's encoding.
    pub fn each_field(self, mut visit: impl FnMut(&[u8], &Value)) {
        let mut name: &[u8] = &[];
        self.walk(|token, value| {
            if token == pg_sys::JsonbIteratorToken::WJB_KEY {
                // SAFETY: a key is a string that points into the document.
                name = unsafe {
                    let string = value.0.val.string;
                    std::slice::from_raw_parts(string.val.cast::<u8>(), string.len as usize)
                };
            } else if token == pg_sys::JsonbIteratorToken::WJB_VALUE {
                visit(name, value);
            }
        });
    }

    fn walk(self, mut visit: impl FnMut(pg_sys::JsonbIteratorToken::Type, &Value)) {
        // SAFETY: the container is valid; the iterator frees itself at the end,
        // and its memory goes with the context otherwise.
        unsafe {
            let mut iterator = pg_sys::JsonbIteratorInit(self.0);
            let mut value = Value(MaybeUninit::zeroed().assume_init());
            // The first token enters the container itself.
            pg_sys::JsonbIteratorNext(&raw mut iterator, &raw mut value.0, false);
            loop {
                let token = pg_sys::JsonbIteratorNext(&raw mut iterator, &raw mut value.0, true);
                if token == pg_sys::JsonbIteratorToken::WJB_DONE {
                    break;
                }
                visit(token, &value);
            }
        }
    }
}

/// One value inside a document.
pub struct Value(pg_sys::JsonbValue);

impl Value {
    /// The same value; it points into the same document.
    pub fn copied(&self) -> Self {
        Self(self.0)
    }

    /// Whether it is JSON null.
    pub fn is_null(&self) -> bool {
        self.0.type_ == pg_sys::jbvType::jbvNull
    }

    /// The container, if it is an object or array.
    pub fn container(&self) -> Option<Container> {
        if self.0.type_ != pg_sys::jbvType::jbvBinary {
            return None;
        }
        // SAFETY: the tag says which member of the union is set.
        Some(Container(unsafe { self.0.val.binary.data }))
    }

    /// As a jsonb datum in the current context.
    pub fn to_jsonb(&self) -> pg_sys::Datum {
        let mut value = self.0;
        // SAFETY: a valid value.
        unsafe { pg_sys::Datum::from(pg_sys::JsonbValueToJsonb(&raw mut value)) }
    }

    /// The text that a type's input function reads, as
    /// `jsonb_populate_record` makes it: strings without their quotes, objects
    /// and arrays as JSON text. JSON null has none.
    pub fn to_input_text(&self) -> *mut c_char {
        // SAFETY: the tag says which member of the union is set; results are
        // allocated in the current context.
        unsafe {
            match self.0.type_ {
                pg_sys::jbvType::jbvNull => ptr::null_mut(),
                pg_sys::jbvType::jbvString => {
                    let string = self.0.val.string;
                    pg_sys::pnstrdup(string.val, string.len as usize)
                }
                pg_sys::jbvType::jbvNumeric => pg_sys::DirectFunctionCall1Coll(
                    Some(ffi::functions::numeric_out),
                    pg_sys::InvalidOid,
                    pg_sys::Datum::from(self.0.val.numeric),
                )
                .cast_mut_ptr(),
                pg_sys::jbvType::jbvBool => {
                    let text = if self.0.val.boolean {
                        c"true"
                    } else {
                        c"false"
                    };
                    pg_sys::pstrdup(text.as_ptr())
                }
                _ => self.to_json_text(),
            }
        }
    }

    /// As JSON text, strings with their quotes.
    pub fn to_json_text(&self) -> *mut c_char {
        let mut value = self.0;
        // SAFETY: a valid value; the text is allocated in the current context.
        unsafe {
            let document = pg_sys::JsonbValueToJsonb(&raw mut value);
            pg_sys::JsonbToCString(
                ptr::null_mut(),
                &raw mut (*document).root,
                pgrx::varlena::varsize_any(document.cast()) as c_int,
            )
        }
    }
}

/// Builds one JSON object, field by field, in the current context.
pub struct ObjectBuilder {
    state: *mut pg_sys::JsonbParseState,
}

impl ObjectBuilder {
    /// An empty object.
    pub fn new() -> Self {
        let mut state = ptr::null_mut();
        // SAFETY: starts a new parse state.
        unsafe {
            pg_sys::pushJsonbValue(
                &raw mut state,
                pg_sys::JsonbIteratorToken::WJB_BEGIN_OBJECT,
                ptr::null_mut(),
            );
        }
        Self { state }
    }

    fn push(&mut self, token: pg_sys::JsonbIteratorToken::Type, value: *mut pg_sys::JsonbValue) {
        // SAFETY: the state is live; core copies the value's struct, and the
        // callers see to it that what it points to lives in the current context.
        unsafe { pg_sys::pushJsonbValue(&raw mut self.state, token, value) };
    }

    /// Adds a field whose value is a jsonb datum; None is JSON null.
    ///
    /// # Safety
    /// `name` and `value` live until [`ObjectBuilder::finish`].
    pub unsafe fn field(&mut self, name: &CStr, value: Option<pg_sys::Datum>) {
        // SAFETY: plain C structs, of which the tag's member is set; a scalar
        // document holds its one value as the first member of an array.
        unsafe {
            let mut key: pg_sys::JsonbValue = MaybeUninit::zeroed().assume_init();
            key.type_ = pg_sys::jbvType::jbvString;
            key.val.string.val = name.as_ptr().cast_mut();
            key.val.string.len = name.count_bytes() as c_int;
            self.push(pg_sys::JsonbIteratorToken::WJB_KEY, &raw mut key);

            let mut member: pg_sys::JsonbValue = MaybeUninit::zeroed().assume_init();
            member.type_ = pg_sys::jbvType::jbvNull;
            if let Some(datum) = value {
                let document =
                    pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
                let root = &raw mut (*document).root;
                if Container(root).kind() == Kind::Scalar {
                    pg_sys::JsonbExtractScalar(root, &raw mut member);
                } else {
                    member.type_ = pg_sys::jbvType::jbvBinary;
                    member.val.binary.data = root;
                    member.val.binary.len = pgrx::varlena::varsize_any(document.cast()) as c_int
                        - pg_sys::VARHDRSZ as c_int;
                }
            }
            self.push(pg_sys::JsonbIteratorToken::WJB_VALUE, &raw mut member);
        }
    }

    /// The object as a jsonb datum.
    pub fn finish(mut self) -> pg_sys::Datum {
        // SAFETY: closes the object that `new` opened.
        unsafe {
            let value = pg_sys::pushJsonbValue(
                &raw mut self.state,
                pg_sys::JsonbIteratorToken::WJB_END_OBJECT,
                ptr::null_mut(),
            );
            pg_sys::Datum::from(pg_sys::JsonbValueToJsonb(value))
        }
    }
}

impl Default for ObjectBuilder {
    fn default() -> Self {
        Self::new()
    }
}
