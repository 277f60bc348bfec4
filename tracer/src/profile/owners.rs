//! The owners of a category: whose sites hold it; and that a category leaks if one of its sites does.

use std::collections::BTreeMap;

use super::class_owners::{ClassOwners, shares};
use super::code::CodeCache;
use super::{Category, Creator, OwnerShare, Site, Verdict, VerdictKind};

/// Owners named for a category at most.
const OWNERS: usize = 5;
/// A smaller share is not worth a name.
const LEAST: f64 = 0.01;

/// Names the owners of each category. Memory that the JVM keeps for classes has those who had classes defined, and
/// stacks have those who started the threads.
pub(super) fn set(
    categories: &mut [Category],
    sites: &[Site],
    classes: &ClassOwners,
    code: &CodeCache,
    creators: &[Creator],
) {
    for category in categories {
        let of_category: Vec<&Site> =
            sites.iter().filter(|it| it.category == category.id && it.source == category.source).collect();
        let mut owners = match category.id.as_str() {
            "code-cache" => of_code(code),
            "metaspace" => classes.all(),
            "thread-stack" if creators.iter().any(|creator| creator.live > 0) => of_threads(creators),
            _ => of_sites(&of_category, category.totals.live_bytes > 0),
        };
        owners.retain(|owner| owner.share >= LEAST);
        owners.truncate(OWNERS);
        category.owners = owners;
        inherit(category, &of_category);
    }
}

fn of_sites(sites: &[&Site], is_live: bool) -> Vec<OwnerShare> {
    let mut bytes: BTreeMap<String, u64> = BTreeMap::new();
    let mut nobodys = 0_u64;
    for site in sites {
        let of_site = if is_live { site.totals.live_bytes } else { site.totals.allocated_bytes };
        match &site.owner {
            Some(owner) => *bytes.entry(owner.clone()).or_default() += of_site,
            None => nobodys += of_site,
        }
    }
    bytes.insert(String::new(), nobodys);
    let mut shares = shares(bytes);
    shares.retain(|owner| !owner.function.is_empty());
    shares
}

/// Owners that started the threads that live. The C library gives a stack that was mapped for one thread to the next,
/// so who had it mapped says nothing.
fn of_threads(creators: &[Creator]) -> Vec<OwnerShare> {
    let mut live: BTreeMap<String, u64> = BTreeMap::new();
    for creator in creators {
        let owner = creator.path.owner.and_then(|owner| creator.frames.get(owner));
        let function = owner.map(|frame| frame.function.clone()).unwrap_or_default();
        *live.entry(function).or_default() += creator.live;
    }
    let mut shares = shares(live);
    shares.retain(|owner| !owner.function.is_empty());
    shares
}

/// Owners whose generated classes have code, as a part of all code.
fn of_code(code: &CodeCache) -> Vec<OwnerShare> {
    let all: u64 = code.methods.iter().map(|method| method.bytes).sum();
    let mut shares: BTreeMap<String, f64> = BTreeMap::new();
    for row in &code.generated {
        if let Some(owner) = &row.owner {
            *shares.entry(owner.function.clone()).or_default() += row.bytes as f64 / all.max(1) as f64;
        }
    }
    let mut shares: Vec<_> = shares
        .into_iter()
        .map(|(function, share)| OwnerShare { function, share: (share * 1e3).round() / 1e3 })
        .collect();
    shares.sort_by(|one, other| other.share.total_cmp(&one.share));
    shares
}

/// A finding of one site may be lost in what else goes on in its category.
fn inherit(category: &mut Category, sites: &[&Site]) {
    let Some(verdict) = category.verdict.as_mut().filter(|it| !it.kind.is_finding()) else { return };
    let of_kind = |kind: VerdictKind| {
        let mut found = sites.iter().filter(move |site| site.owner.is_some());
        found.find_map(|site| Some((site, site.verdict.as_ref().filter(|it| it.kind == kind)?)))
    };
    let Some((site, found)) = of_kind(VerdictKind::Leak).or_else(|| of_kind(VerdictKind::GcPending)) else {
        return;
    };
    let owner = site.owner.as_deref().unwrap_or_default();
    let evidence = found.evidence.clone().about(owner);
    *verdict = Verdict { evidence, ..found.clone() };
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{CallPath, SiteFrame};
    use super::*;
    use crate::symbolize::{Frame, FrameKind};

    #[test]
    fn stacks_are_of_those_whose_threads_live() {
        let creator = |function: &str, count, live| Creator {
            count,
            live,
            stack_reserved_bytes: 0,
            stack_resident_bytes: 0,
            frames: vec![Arc::new(SiteFrame::from(&Frame::named(function, FrameKind::Java)))],
            path: CallPath { leaf: None, cause: None, owner: Some(0) },
        };
        let creators =
            [creator("Shell.run", 252, 0), creator("Pool.grow", 60, 6), creator("Feed.open", 3, 2)];
        let owners = of_threads(&creators);
        let told: Vec<_> = owners.iter().map(|owner| (owner.function.as_str(), owner.share)).collect();
        assert_eq!(told, [("Pool.grow", 0.75), ("Feed.open", 0.25), ("Shell.run", 0.0)]);
    }
}
