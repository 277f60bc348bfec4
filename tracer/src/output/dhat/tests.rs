//! Properties that viewers of DHAT rely on.

use super::*;
use crate::attribute::Rules;
use crate::recording::{self, fixture};

fn rendered(options: &Options) -> serde_json::Value {
    let (_folder, path) = fixture::finished();
    let profile = Profile::build(&recording::read(&path).expect("read"), &Rules::builtin());
    let mut file = Vec::new();
    render(&profile, options, &mut file).expect("render");
    serde_json::from_slice(&file).expect("JSON")
}

#[test]
fn points_have_frames_and_the_fields_of_lifetimes() {
    let file = rendered(&Options::default());
    let frames = file["ftbl"].as_array().expect("frames");
    for point in file["pps"].as_array().expect("points") {
        for field in ["tb", "tbk", "tl", "mb", "mbk", "gb", "gbk", "eb", "ebk"] {
            assert!(point[field].is_u64(), "{field}: {point}");
        }
        assert!(point["mb"].as_u64() >= point["eb"].as_u64(), "{point}");
        assert!(point["mb"].as_u64() <= point["tb"].as_u64(), "{point}");
        assert!(point["mb"].as_u64() >= point["gb"].as_u64(), "{point}");
        let stack = point["fs"].as_array().expect("stack");
        assert!(stack.iter().all(|frame| (frame.as_u64().expect("index") as usize) < frames.len()));
    }
    assert!(frames.iter().any(|frame| frame == "0x0: com.acme.Feed.open (Feed.java:17)"), "{frames:?}");
    assert_eq!((&file["te"], &file["tg"]), (&10_000_000.into(), &10_000_000.into()));
    assert_eq!(file["tuth"], 1_000_000);
}

#[test]
fn mappings_have_files_of_their_own() {
    let file = rendered(&Options { source: Some("mapping"), ..Options::default() });
    let points = file["pps"].as_array().expect("points");
    let total: u64 = points.iter().filter_map(|point| point["tb"].as_u64()).sum();
    assert_eq!(total, (2 << 20) + (1 << 16));
    assert_eq!(file["verb"], "Mapped");
}
