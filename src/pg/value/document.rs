//! Whole jsonb documents: in the memory of the call, or with bytes of their own.
use crate::pg::ffi;
use crate::pg::interrupt;
use crate::pg::value::jsonb::{ArrayBuilder, Container, Kind, ObjectBuilder, Value, object_of};
use crate::pg::value::text;
use pgrx::pg_sys;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::CStr;
use std::fmt;
use std::ptr;
use std::slice;

/// A jsonb, in the memory of the call.
#[derive(Clone, Copy)]
pub struct JsonbDatum(pg_sys::Datum);

impl JsonbDatum {
    /// That in a datum.
    ///
    /// # Safety
    /// The datum is a jsonb that is not null, and lives as long as this and its copies.
    pub unsafe fn new(datum: pg_sys::Datum) -> Self {
        Self(datum)
    }

    /// An array, in the current context.
    pub fn of_array(array: ArrayBuilder) -> Self {
        Self(array.finish())
    }

    /// An object of these fields, in the current context.
    pub fn of_fields(fields: &[(&[u8], Value<'_>)]) -> Self {
        Self(object_of(fields))
    }

    /// The datum.
    pub fn datum(self) -> pg_sys::Datum {
        self.0
    }

    /// The document without these top-level fields; what is no object has none. Core's own operator
    /// compares each field with each name, and looks for no interrupt meanwhile.
    pub fn without_fields(self, names: &[String]) -> Self {
        let document = self.container();
        if document.kind() != Kind::Object {
            return self;
        }
        let in_servers_encoding = |name: &String| {
            interrupt::check();
            text::to_server(name).into_bytes()
        };
        let names: HashSet<Vec<u8>> = names.iter().map(in_servers_encoding).collect();
        let mut left = Vec::new();
        for field in document.names().zip(document.values()) {
            interrupt::check();
            if !names.contains(field.0) {
                left.push(field);
            }
        }
        if left.len() == document.len() {
            return self;
        }
        Self(object_of(&left))
    }

    /// Adds it to an array; false if it is more than an array holds.
    ///
    /// # Panics
    /// If it is neither an object nor an array.
    pub fn add_to(self, array: &mut ArrayBuilder) -> bool {
        assert!(
            self.container().kind() != Kind::Scalar,
            "an array is given a scalar"
        );
        // SAFETY: an object or array, as was checked, and whole; the guard holds nothing.
        unsafe { array.document(ffi::guard(|| whole_unguarded(self))) }
    }

    /// The document, detoasted into the current context.
    pub fn container(&self) -> Container<'_> {
        // SAFETY: a jsonb, by the promise of `new`.
        unsafe { Container::of_datum(self.0) }
    }
}

/// The value of a field.
pub enum Field<'f> {
    /// A string, in the server's encoding.
    String(&'f CStr),
    /// A whole document.
    Document(JsonbDatum),
}

/// A copy of an object that is inside a document, in the current context.
pub fn copy_of_object(object: Container<'_>) -> JsonbDatum {
    // SAFETY: names and values live as long as the object; the guard owns nothing. The copy is a
    // jsonb.
    unsafe {
        JsonbDatum::new(ffi::guard(|| {
            let mut copy = ObjectBuilder::new();
            for (name, value) in object.names().zip(object.values()) {
                copy.key_of_bytes(name);
                copy.value(value);
            }
            copy.finish()
        }))
    }
}

/// An object with these fields, in the current context.
pub fn object(fields: &[(&CStr, Field<'_>)]) -> JsonbDatum {
    // SAFETY: names and values live until the object is finished; the guard owns nothing. The
    // object is a jsonb.
    unsafe {
        JsonbDatum::new(ffi::guard(|| {
            let mut object = ObjectBuilder::new();
            for (name, value) in fields {
                object.key(name);
                match value {
                    Field::String(text) => object.value(Value::String(text.to_bytes())),
                    Field::Document(document) => object.document(whole_unguarded(*document)),
                }
            }
            object.finish()
        }))
    }
}

/// An object with these documents, in the current context.
pub fn object_of_documents(fields: &[(&CStr, JsonbDatum)]) -> JsonbDatum {
    // SAFETY: names and documents live longer than this. The guard owns nothing; a jsonb that was
    // made here is whole.
    unsafe {
        JsonbDatum::new(ffi::guard(|| {
            let mut object = ObjectBuilder::new();
            for (name, document) in fields {
                object.key(name);
                object.document(whole_unguarded(*document));
            }
            object.finish()
        }))
    }
}

/// A document that is neither compressed nor stored elsewhere.
///
/// # Safety
/// Runs inside `ffi::guard`.
unsafe fn whole_unguarded(document: JsonbDatum) -> pg_sys::Datum {
    // SAFETY: a jsonb, by the promise of `new`.
    unsafe { ffi::unguarded::pg_detoast_datum(document.0.cast_mut_ptr()).into() }
}

/// A copy of a document, without what it was compressed or stored in.
///
/// A record has it from a column of type jsonb, and from nowhere else: other bytes, handed over
/// by any other deserializer, are refused.
pub struct Document(Box<[u64]>);

thread_local! {
    /// The bytes of a jsonb that are being handed over right now.
    static CHECKED: Cell<*const [u8]> = const { Cell::new(ptr::slice_from_raw_parts(ptr::null(), 0)) };
}

/// Gives the bytes of a jsonb, its header included, to a visitor.
///
/// # Safety
/// `datum` is a jsonb that is not null.
///
/// # Errors
/// What the visitor says.
pub unsafe fn hand_over<'de, V: Visitor<'de>, E: Error>(
    datum: pg_sys::Datum,
    visitor: V,
) -> Result<V::Value, E> {
    // SAFETY: the caller's promise; a whole value has as many bytes as its header says, and
    // stays while the visitor looks at it.
    let bytes = unsafe {
        let whole = pg_sys::pg_detoast_datum(datum.cast_mut_ptr());
        slice::from_raw_parts(whole.cast::<u8>(), pgrx::varlena::varsize_any(whole))
    };
    let outer = CHECKED.replace(bytes);
    let result = visitor.visit_bytes(bytes);
    CHECKED.set(outer);
    result
}

impl Document {
    /// The document itself.
    pub fn container(&self) -> Container<'_> {
        let datum = pg_sys::Datum::from(self.0.as_ptr());
        // SAFETY: the bytes are those of a whole jsonb, aligned as the server aligns them, so that
        // it is read where it is, and they live as long as the borrow.
        unsafe { Container::of_datum(datum) }
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Copied;

        impl Visitor<'_> for Copied {
            type Value = Document;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a jsonb of the server")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Document, E> {
                if !ptr::eq(CHECKED.get(), ptr::from_ref(bytes)) {
                    return Err(E::custom("bytes that are no jsonb of the server"));
                }
                let mut copy = vec![0_u64; bytes.len().div_ceil(size_of::<u64>())];
                // SAFETY: at least as many bytes as are copied, and of another allocation.
                unsafe {
                    ptr::copy_nonoverlapping(bytes.as_ptr(), copy.as_mut_ptr().cast(), bytes.len());
                }
                Ok(Document(copy.into_boxed_slice()))
            }
        }

        deserializer.deserialize_bytes(Copied)
    }
}
