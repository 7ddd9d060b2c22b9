//! The server's lists.
use pgrx::pg_sys;

/// The members of a list of pointers.
///
/// # Safety
/// The list is null, or one of pointers to `T`, and stays as it is meanwhile.
pub unsafe fn members<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: the caller's promise.
    let length = unsafe { list.as_ref() }.map_or(0, |list| list.length as usize);
    // SAFETY: within the length that the list had, and by the caller's promise still has.
    (0..length).map(move |i| unsafe { (*(*list).elements.add(i)).ptr_value.cast() })
}

/// The member with this number, from 1, as indexes into range tables count; none has 0.
///
/// # Safety
/// As [`members`].
pub unsafe fn member<T>(list: *mut pg_sys::List, number: pg_sys::Index) -> Option<*mut T> {
    let place = (number as usize).checked_sub(1)?;
    // SAFETY: the caller's promise.
    unsafe { members(list).nth(place) }
}

/// The members of a list of oids, which is freed.
///
/// # Safety
/// The list is null, or one of oids, and ours.
pub unsafe fn oids(list: *mut pg_sys::List) -> Vec<pg_sys::Oid> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's promise: it has as many members as its length says, and nobody else
    // frees it.
    unsafe {
        let oids = (0..(*list).length as usize)
            .map(|i| (*(*list).elements.add(i)).oid_value)
            .collect();
        pg_sys::list_free(list);
        oids
    }
}
