//! Settings that hold for a stretch of a call.
use crate::pg::ffi::plain;
use crate::pg::unwinding;
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

/// Those without the time zone, which an instant names by itself, and in which defaults may be evaluated; and how
/// a text is quoted.
const FIXED_TRANSMISSION: [(&CStr, &CStr); 6] = [
    (c"extra_float_digits", c"3"),
    (c"DateStyle", c"ISO"),
    (c"IntervalStyle", c"postgres"),
    (c"bytea_output", c"hex"),
    (c"standard_conforming_strings", c"on"),
    // Who sends a statement on plans it by its values.
    (c"plan_cache_mode", c"force_custom_plan"),
];

/// Under which the names of objects, and constants, are always the same text.
const FIXED_NAMES: [(&CStr, &CStr); 3] = [
    FIXED_LITERALS,
    (c"search_path", c"pg_catalog, pg_temp"),
    (c"quote_all_identifiers", c"off"),
];

/// How a constant is quoted.
const FIXED_LITERALS: (&CStr, &CStr) = (c"standard_conforming_strings", c"on");

/// While it lives, settings have other values than the session's.
///
/// The server keeps levels of settings on a stack, and closing one closes all above it. So
/// what is opened later has to be dropped earlier. Rust drops the variables of a block that
/// way, but the fields of a struct, and the members of a tuple, the first one first: two of
/// these never lie side by side in one value. A build with debug assertions checks it.
pub struct LocalSettings {
    level: i32,
}

impl LocalSettings {
    /// Sets them: names, and values, of settings that every role may change.
    pub fn set(settings: &[(&CStr, &CStr)]) -> Self {
        Self::set_all(&[settings])
    }

    /// Sets those of several lists, as one level.
    fn set_all(lists: &[&[(&CStr, &CStr)]]) -> Self {
        // Closed below, or by the abort after an error.
        let level = plain::NewGUCNestLevel();
        for (name, value) in lists.iter().copied().flatten() {
            plain::set_option_in_level(name, value);
        }
        Self { level }
    }

    /// Those under which values are written down and read again.
    pub fn fixed_output() -> Self {
        Self::set(&FIXED_OUTPUT)
    }

    /// Those settings, under which another server also reads the values of a statement as they are
    /// written here.
    pub fn fixed_transmission() -> Self {
        Self::set(&FIXED_TRANSMISSION)
    }

    /// Those under which SQL that was written with [`fixed_names`](Self::fixed_names) is read: its names stand
    /// for the same objects, and its constants for the same values.
    pub fn read_fixed_names() -> Self {
        Self::set(&FIXED_NAMES)
    }

    /// Those under which only its constants are read so.
    pub fn read_fixed_literals() -> Self {
        Self::set(&[FIXED_LITERALS])
    }

    /// Those settings, under which objects are also named with their schema, whatever the
    /// `search_path`.
    pub fn fixed_names() -> Self {
        Self::set_all(&[&FIXED_OUTPUT, &FIXED_NAMES])
    }
}

impl Drop for LocalSettings {
    fn drop(&mut self) {
        if !unwinding() {
            // Opens a level, which is closed with ours.
            #[cfg(debug_assertions)]
            assert_eq!(
                plain::NewGUCNestLevel(),
                self.level + 1,
                "levels of settings are closed in another order than they were opened"
            );
            plain::close_settings_level(self.level);
        }
    }
}
