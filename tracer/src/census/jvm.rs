//! The JVM's own statistics, and what follows from them.

use std::collections::BTreeMap;

use super::Known;
use super::document::{CodeMethod, CodeTier, Generated, Sum};
use super::groups::NamePattern;
use crate::hotspot::stats::{
    CodeHeap, CompileQueue, DirectBuffers, JavaHeap, JniReferences, Loaders, Tables, Tracking,
};
use crate::hotspot::{Compiled, Hotspot, Tier};

/// Facts that a JVM tells of itself.
#[derive(Clone, Debug)]
pub(super) struct Jvm {
    pub(super) version: String,
    pub(super) vendor: Option<String>,
    pub(super) gc: Option<&'static str>,
    pub(super) java_heap: Known<JavaHeap>,
    pub(super) direct_buffers: Known<DirectBuffers>,
    pub(super) loaders: Known<Loaders>,
    pub(super) jni: Known<JniReferences>,
    /// Symbols and interned strings.
    pub(super) tables: Known<Tables>,
    pub(super) compile_queues: Known<Vec<CompileQueue>>,
    /// `None` if the JVM was not started with Native Memory Tracking.
    pub(super) tracking: Known<Option<Tracking>>,
    pub(super) code: CodeUse,
}

/// The code cache, by heap and by method.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeUse {
    pub heaps: Vec<CodeHeap>,
    /// Compiled methods, the largest first; every compilation of a method for itself.
    pub methods: Vec<CodeMethod>,
    /// Methods of classes that were generated at run time, by their name's pattern, the largest first.
    pub generated: Vec<Generated>,
}

impl Jvm {
    pub(super) fn read(hotspot: &mut Hotspot) -> Self {
        let known = |error: crate::hotspot::stats::StatsError| error.to_string();
        Self {
            version: hotspot.version().to_owned(),
            vendor: hotspot.vendor().map(str::to_owned),
            gc: hotspot.gc(),
            java_heap: hotspot.java_heap().map_err(known),
            direct_buffers: hotspot.direct_buffers().map_err(known),
            loaders: hotspot.loaders().map_err(known),
            jni: hotspot.jni_references().map_err(known),
            tables: hotspot.tables().map_err(known),
            compile_queues: hotspot.compile_queues().map_err(known),
            tracking: hotspot.native_memory_tracking().map_err(known),
            code: CodeUse::read(hotspot),
        }
    }
}

impl CodeUse {
    /// Walks the code cache of a JVM.
    pub fn read(hotspot: &mut Hotspot) -> Self {
        let code = hotspot.code_stats();
        let methods: Vec<CodeMethod> = code.methods.iter().map(method).collect();
        let classes = code.methods.iter().map(|compiled| (&*compiled.class, compiled.blob.size_bytes.into()));
        let mut this = Self { heaps: code.heaps, generated: generated(classes), methods };
        this.methods.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.method.cmp(&b.method)));
        this
    }

    pub(super) fn reserved_bytes(&self) -> u64 {
        self.heaps.iter().map(|heap| heap.reserved_bytes).sum()
    }

    pub(super) fn committed_bytes(&self) -> u64 {
        self.heaps.iter().map(|heap| heap.committed_bytes).sum()
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.heaps.iter().map(|heap| heap.used_bytes).sum()
    }

    /// Methods by tier.
    pub(super) fn tiers(&self) -> Vec<CodeTier> {
        let mut tiers: BTreeMap<&str, Sum> = BTreeMap::new();
        for method in &self.methods {
            tiers.entry(method.tier.as_deref().unwrap_or("native")).or_default().add(method.bytes);
        }
        let tier =
            |(tier, Sum { count, bytes }): (&str, Sum)| CodeTier { tier: tier.to_owned(), count, bytes };
        tiers.into_iter().map(tier).collect()
    }
}

fn method(compiled: &Compiled) -> CodeMethod {
    CodeMethod {
        method: format!("{}.{}", compiled.class, compiled.method),
        tier: compiled.tier.and_then(|tier| match tier {
            Tier::C1 => Some("c1".to_owned()),
            Tier::C2 => Some("c2".to_owned()),
            _ => None,
        }),
        bytes: compiled.blob.size_bytes.into(),
    }
}

/// Marks in the names of generated classes: lambdas, method handles, proxies, accessors, and
/// what common libraries make.
const GENERATED: [&str; 10] = [
    "$$Lambda",
    "LambdaForm$",
    "$Proxy",
    "GeneratedMethodAccessor",
    "GeneratedConstructorAccessor",
    "GeneratedSerializationConstructorAccessor",
    "$$FastClassBy",
    "$$EnhancerBy",
    "$$SpringCGLIB$$",
    "$ByteBuddy$",
];

/// Is the class with this name (with dots) one that was generated at run time?
pub fn is_generated(class: &str) -> bool {
    GENERATED.iter().any(|mark| class.contains(mark))
}

/// Code of generated classes by the pattern of their names, the largest first; takes the class (with
/// dots) and the bytes of each method.
pub fn generated<'a>(methods: impl Iterator<Item = (&'a str, u64)>) -> Vec<Generated> {
    let mut groups: BTreeMap<NamePattern, Sum> = BTreeMap::new();
    for (class, size) in methods.filter(|(class, _)| is_generated(class)) {
        groups.entry(NamePattern::of(class)).or_default().add(size);
    }
    let mut generated: Vec<Generated> = groups
        .into_iter()
        .map(|(pattern, Sum { count, bytes })| Generated {
            pattern: pattern.as_str().to_owned(),
            count,
            bytes,
        })
        .collect();
    generated.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.pattern.cmp(&b.pattern)));
    generated
}
