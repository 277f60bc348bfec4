//! The JVM's own books, and what follows from them.

use std::collections::BTreeMap;

use super::Known;
use super::groups::NamePattern;
use crate::hotspot::books::{
    CodeHeap, CompileQueue, DirectBuffers, JavaHeap, JniReferences, Loaders, Tables,
};
use crate::hotspot::{Compiled, Hotspot, Tier};

/// What a JVM says of itself.
#[derive(Clone, Debug)]
pub struct Jvm {
    pub version: String,
    pub vendor: Option<String>,
    pub gc: Option<&'static str>,
    pub java_heap: Known<JavaHeap>,
    pub direct_buffers: Known<DirectBuffers>,
    pub loaders: Known<Loaders>,
    pub jni: Known<JniReferences>,
    /// Symbols and interned strings.
    pub tables: Known<Tables>,
    pub compile_queues: Known<Vec<CompileQueue>>,
    pub code: CodeUse,
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

/// A compiled method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeMethod {
    /// `package.Class.method`.
    pub method: String,
    /// `c1`, `c2`; none: the wrapper of a native method.
    pub tier: Option<&'static str>,
    pub bytes: u64,
}

/// Code of classes whose names have one pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    pub pattern: String,
    pub count: u64,
    pub bytes: u64,
}

impl Jvm {
    pub(super) fn read(hotspot: &mut Hotspot) -> Self {
        let known = |error: crate::hotspot::books::BookError| error.to_string();
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
            code: CodeUse::read(hotspot),
        }
    }
}

impl CodeUse {
    /// Walks the code cache of a JVM.
    pub fn read(hotspot: &mut Hotspot) -> Self {
        let book = hotspot.code_book();
        let methods: Vec<CodeMethod> = book.methods.iter().map(method).collect();
        let classes = book.methods.iter().map(|compiled| (&*compiled.class, compiled.blob.size_bytes.into()));
        let mut this = Self { heaps: book.heaps, generated: generated(classes), methods };
        this.methods.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.method.cmp(&b.method)));
        this
    }

    pub fn reserved_bytes(&self) -> u64 {
        self.heaps.iter().map(|heap| heap.reserved_bytes).sum()
    }

    pub fn committed_bytes(&self) -> u64 {
        self.heaps.iter().map(|heap| heap.committed_bytes).sum()
    }

    pub fn used_bytes(&self) -> u64 {
        self.heaps.iter().map(|heap| heap.used_bytes).sum()
    }

    /// (tier, count, bytes) of all methods.
    pub fn tiers(&self) -> Vec<(&'static str, u64, u64)> {
        let mut tiers: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
        for method in &self.methods {
            let (count, bytes) = tiers.entry(method.tier.unwrap_or("native")).or_default();
            *count += 1;
            *bytes += method.bytes;
        }
        tiers.into_iter().map(|(tier, (count, bytes))| (tier, count, bytes)).collect()
    }
}

fn method(compiled: &Compiled) -> CodeMethod {
    CodeMethod {
        method: format!("{}.{}", compiled.class, compiled.method),
        tier: compiled.tier.and_then(|tier| match tier {
            Tier::C1 => Some("c1"),
            Tier::C2 => Some("c2"),
            _ => None,
        }),
        bytes: compiled.blob.size_bytes.into(),
    }
}

/// What names of generated classes have in them: lambdas, method handles, proxies, accessors, and
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
    let mut groups: BTreeMap<NamePattern, (u64, u64)> = BTreeMap::new();
    for (class, size) in methods.filter(|(class, _)| is_generated(class)) {
        let (count, bytes) = groups.entry(NamePattern::of(class)).or_default();
        *count += 1;
        *bytes = bytes.saturating_add(size);
    }
    let mut generated: Vec<Generated> = groups
        .into_iter()
        .map(|(pattern, (count, bytes))| Generated { pattern: pattern.as_str().to_owned(), count, bytes })
        .collect();
    generated.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.pattern.cmp(&b.pattern)));
    generated
}
