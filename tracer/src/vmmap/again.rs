//! Memory that the kernel's count of resident bytes (RSS) has more than once.

use super::Owner;

/// Collector that maps each page of its heap at three addresses, and uses them in turn: before it had generations.
const MAPS_AGAIN: &str = "ZGC";

/// Bytes of an owner's memory that RSS counts again. A page of a heap that is the process's alone counts once in its
/// proportional size (PSS), at however many addresses it is. `None` if the memory is at one address.
pub fn counted_again(
    owner: Option<Owner>,
    collector: Option<&str>,
    resident_bytes: u64,
    pss_bytes: u64,
) -> Option<u64> {
    let maps_again = owner == Some(Owner::JavaHeap) && collector == Some(MAPS_AGAIN);
    resident_bytes.checked_sub(pss_bytes).filter(|bytes| maps_again && *bytes > 0 && pss_bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_at_several_addresses_counts_again() {
        let heap = Some(Owner::JavaHeap);
        assert_eq!(counted_again(heap, Some("ZGC"), 768, 256), Some(512));
        // Of two generations, or another collector's after a fork; a library that others have, too; not measured.
        assert_eq!(counted_again(heap, Some("ZGC"), 256, 256), None);
        assert_eq!(counted_again(heap, Some("G1"), 256, 128), None);
        assert_eq!(counted_again(Some(Owner::Library), Some("ZGC"), 256, 128), None);
        assert_eq!(counted_again(heap, Some("ZGC"), 256, 0), None);
    }
}
