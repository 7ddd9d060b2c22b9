//! Settings under which values are written down to be read again.
use super::unwinding;
use pgrx::pg_sys;
use std::ffi::CStr;

/// Name and value, as `pg_dump` sets them: nothing is lost, and the same value
/// is always the same text.
const SETTINGS: [(&CStr, &CStr); 5] = [
    (c"extra_float_digits", c"3"),
    (c"DateStyle", c"ISO, YMD"),
    (c"IntervalStyle", c"postgres"),
    (c"TimeZone", c"UTC"),
    (c"bytea_output", c"hex"),
];

/// While it lives, values are rendered and read under fixed settings, whatever
/// the session's are.
pub struct FixedOutput {
    level: i32,
}

impl FixedOutput {
    /// Sets them.
    pub fn enter() -> Self {
        // SAFETY: constant names and values of settings that every role may
        // change; undone below, or by the abort after an error.
        unsafe {
            let level = pg_sys::NewGUCNestLevel();
            for (name, value) in SETTINGS {
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
}

impl Drop for FixedOutput {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: the level that we opened.
            unsafe { pg_sys::AtEOXact_GUC(true, self.level) };
        }
    }
}
