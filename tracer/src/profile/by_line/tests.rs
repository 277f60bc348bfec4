//! Rows by line add up, and merge what a person calls one line.

use crate::attribute::Rules;
use crate::profile::{Profile, Totals};
use crate::recording::{self, fixture};

fn profile() -> Profile {
    let (_folder, path) = fixture::finished();
    Profile::build(&recording::read(&path).expect("read"), &Rules::builtin())
}

#[test]
fn rows_add_up_to_the_totals() {
    let profile = profile();
    let mut sum = Totals::default();
    profile.by_line.iter().filter(|row| row.source == "allocator").for_each(|row| sum.add(&row.totals));
    assert_eq!(sum, profile.totals);
    let mut sites: Vec<usize> = profile.by_line.iter().flat_map(|row| row.sites.clone()).collect();
    sites.sort_unstable();
    assert_eq!(sites, (0..profile.sites.len()).collect::<Vec<_>>());
}

#[test]
fn a_row_is_a_method_with_its_lines() {
    let profile = profile();
    let open = profile.by_line.iter().find(|row| row.category == "zlib").expect("zlib");
    let line = open.line.as_ref().expect("a line");
    assert_eq!((line.function.as_str(), line.line), ("com.acme.Feed.open", Some(17)));
    assert_eq!(open.lines.len(), 1);
    assert_eq!(open.lines.first().map(|share| share.live_bytes), Some(open.totals.live_bytes));
    assert_eq!(open.threads.first().map(|thread| &*thread.name), Some("main"));
    let places = profile.sites.iter().find(|site| site.category == "zlib").expect("zlib").places();
    let functions: Vec<&str> = places.iter().map(|place| place.function.as_str()).collect();
    assert_eq!(functions, ["inflateInit2_", "java.util.zip.GZIPInputStream.<init>", "com.acme.Feed.open"]);
}
