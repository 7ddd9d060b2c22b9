//! Settings that hold for a stretch of a call.
use super::unwinding;
use pgrx::pg_sys;
use std::ffi::CStr;

/// As `pg_dump` sets them to write values down: nothing is lost, the same value
/// is always the same text, and it is read again whatever the session's are.
const FIXED_OUTPUT: [(&CStr, &CStr); 5] = [
    (c"extra_float_digits", c"3"),
    (c"DateStyle", c"ISO, YMD"),
    (c"IntervalStyle", c"postgres"),
    (c"TimeZone", c"UTC"),
    (c"bytea_output", c"hex"),
];

/// While it lives, settings have other values than the session's.
pub struct LocalSettings {
    level: i32,
}

impl LocalSettings {
    /// Sets them: names, and values, of settings that every role may change.
    pub fn set(settings: &[(&CStr, &CStr)]) -> Self {
        // SAFETY: constant C strings; undone below, or by the abort after an
        // error.
        unsafe {
            let level = pg_sys::NewGUCNestLevel();
            for (name, value) in settings {
                pg_sys::set_config_option(
                    name.as_ptr(),
                    value.as_ptr(),
                    pg_sys::GucContext::PGC_USERSET,
                    pg_sys::GucSource::PGC_S_SESSION,
                    pg_sys::GucAction::GUC_ACTION_SAVE,
                    true,
                    0,
                    false,
                );
            }
            Self { level }
        }
    }

    /// Those under which values are written down and read again.
    pub fn fixed_output() -> Self {
        Self::set(&FIXED_OUTPUT)
    }
}

impl Drop for LocalSettings {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: the level that we opened.
            unsafe { pg_sys::AtEOXact_GUC(true, self.level) };
        }
    }
}
