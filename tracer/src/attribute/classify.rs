//! Stacks become categories and owners.

use super::library::library_name;
use super::pattern::plain_name;
use super::rules::{Rule, Rules, SourceName, matches};
use super::{Application, Source};
use crate::process::module::file_name;
use crate::symbolize::{Frame, FrameKind};

/// The answer of rules for one frame, alone. Frames are few and stacks are many: it is worth keeping.
#[derive(Clone, Debug)]
pub struct FrameTraits {
    /// Bits of the rules' conditions, one for each.
    conditions: Box<[u64]>,
    origin: CodeOrigin,
    /// The application's own code, as far as its main class tells.
    is_own: bool,
    allocates: bool,
    named: bool,
    /// Owner of the code of a native method's function.
    function_origin: Option<CodeOrigin>,
}

/// Owner of the code of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CodeOrigin {
    /// A Java method of the application.
    Application,
    /// A Java method of a library that stands between applications and native code.
    Binding,
    /// A Java method of the platform.
    Platform,
    /// Stubs, adapters and the interpreter.
    Stub,
    Kernel,
    /// The JDK's own libraries.
    Jdk,
    /// The C library and its like.
    Runtime,
    /// Library other than these, or the program.
    Library,
    /// A native frame of which not even the module is known.
    Nowhere,
}

/// The category and owner that a stack was found to have. Frames are given by their index in the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribution {
    /// The category's id.
    pub category: String,
    /// Kind within the category: `inflate`, `netty`, ...
    pub kind: Option<String>,
    /// The innermost frame that is not the allocator or its wrapper.
    pub leaf: Option<usize>,
    /// The operation that was served: the call that the owner made, or the frame which told the
    /// category.
    pub cause: Option<usize>,
    /// The innermost Java frame in which the application has a line, its own code before that of libraries; else the
    /// function of a library or program.
    pub owner: Option<usize>,
}

impl FrameTraits {
    fn is_java(&self) -> bool {
        matches!(self.origin, CodeOrigin::Application | CodeOrigin::Binding | CodeOrigin::Platform)
    }
}

/// Frames that stand between the allocator and the code that wanted memory, in any program.
const ALLOCATING: &[&str] = &[
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
    "valloc",
    "pvalloc",
    "strdup",
    "strndup",
    "mmap",
    "mmap64",
    "mremap",
    "brk",
    "sbrk",
    "operator new",
    "operator new[]",
    "zcalloc",
    "AllocateHeap",
    "ReallocateHeap",
    "os::malloc",
    "os::realloc",
    "os::strdup",
    "anon_mmap",
];

/// Beginnings of names that do the same in HotSpot.
const ALLOCATING_JVM: &[&str] = &[
    "os::reserve_memory",
    "os::commit_memory",
    "os::pd_reserve_memory",
    "os::pd_commit_memory",
    "os::Linux::commit_memory",
    "AnyObj::operator new",
    "ResourceObj::operator new",
    "CHeapObj",
    "Chunk::operator new",
    "ChunkPool::",
    "Chunk::allocate_chunk",
    "Arena::",
    "ResourceArea::",
    "resource_allocate_bytes",
    "resource_reallocate_bytes",
    "GrowableArray",
];

/// Beginnings of names of the C library's and other allocators' own functions.
const ALLOCATING_RUNTIME: &[&str] = &[
    "__libc_malloc",
    "__libc_calloc",
    "__libc_realloc",
    "__libc_memalign",
    "_int_",
    "__GI___",
    "je_",
    "tc_",
    "mi_",
];

impl Rules {
    /// The answer of these rules for a frame of a process that runs `application`.
    pub fn frame(&self, frame: &Frame, application: &Application) -> FrameTraits {
        let module = frame.module.as_deref().map(file_name);
        let function = match frame.kind {
            FrameKind::Java => frame.function.as_str(),
            _ => plain_name(&frame.function),
        };
        let mut conditions = vec![0_u64; self.matchers.len().div_ceil(64)].into_boxed_slice();
        for condition in self.matchers.holding(function, module, frame.kind) {
            if let Some(word) = conditions.get_mut(condition / 64) {
                *word |= 1 << (condition % 64);
            }
        }
        let origin_of = |module: &str| match () {
            () if matches(&self.runtime, module) => CodeOrigin::Runtime,
            () if matches(&self.jdk, module) => CodeOrigin::Jdk,
            () => CodeOrigin::Library,
        };
        let origin = match (frame.kind, module) {
            // Nobody can change a method without a name.
            (FrameKind::Java, _) if frame.unknown.is_some() => CodeOrigin::Stub,
            (FrameKind::Java, _) if matches(&self.platform, function) => CodeOrigin::Platform,
            (FrameKind::Java, _) if matches(&self.bindings, function) || loads_classes(function) => {
                CodeOrigin::Binding
            }
            (FrameKind::Java, _) => CodeOrigin::Application,
            (FrameKind::Stub, _) => CodeOrigin::Stub,
            (FrameKind::Kernel, _) => CodeOrigin::Kernel,
            (FrameKind::Native, None) => CodeOrigin::Nowhere,
            (FrameKind::Native, Some(module)) => origin_of(module),
        };
        let begins = |names: &[&str]| names.iter().any(|name| function.starts_with(name));
        let allocates = frame.kind == FrameKind::Native
            && (ALLOCATING.contains(&function)
                || (origin == CodeOrigin::Jdk && begins(ALLOCATING_JVM))
                || (origin == CodeOrigin::Runtime && begins(ALLOCATING_RUNTIME)));
        let function_origin = module.filter(|_| frame.kind == FrameKind::Java).map(origin_of);
        let is_own = origin == CodeOrigin::Application && application.owns(function);
        FrameTraits { conditions, origin, is_own, allocates, named: frame.unknown.is_none(), function_origin }
    }

    /// The category of a whole stack, leaf first, for a caller that keeps no traits.
    pub fn category(&self, frames: &[Frame], source: &Source) -> String {
        self.attribute(frames, source).category
    }

    /// The owner in a stack, leaf first: the application's innermost Java method that has a line, else
    /// the function of a library or program.
    pub fn owner(&self, frames: &[Frame]) -> Option<String> {
        let owner = self.attribute(frames, &Source::Allocator).owner?;
        frames.get(owner).map(|frame| frame.function.clone())
    }

    fn attribute(&self, frames: &[Frame], source: &Source) -> Attribution {
        let application = Application::default();
        let traits: Vec<FrameTraits> = frames.iter().map(|frame| self.frame(frame, &application)).collect();
        let pairs: Vec<_> = frames.iter().zip(&traits).collect();
        self.classify(&pairs, source, true)
    }

    /// Attribution of a stack, leaf first. `complete`: it reaches the thread's entry, so that what is not
    /// in it was not there.
    pub fn classify(&self, stack: &[(&Frame, &FrameTraits)], source: &Source, complete: bool) -> Attribution {
        let mut holding = vec![0_u64; self.matchers.len().div_ceil(64)];
        // A frame beyond a Java frame called Java: it did not allocate. (A class initializer that
        // runs the whole application has the class loading's frames beyond it.)
        let native = stack.iter().position(|(_, traits)| traits.is_java()).unwrap_or(stack.len());
        let speaks = |at: usize, traits: &FrameTraits| at < native || traits.is_java();
        for (at, (_, traits)) in stack.iter().enumerate() {
            if !speaks(at, traits) {
                continue;
            }
            for (all, one) in holding.iter_mut().zip(&traits.conditions) {
                *all |= one;
            }
        }
        let first_of = |wanted: CodeOrigin| stack.iter().position(|(_, traits)| traits.origin == wanted);
        // A static function without a symbol says less than the one that called it, if that is of
        // the same code.
        let wants = |(_, traits): &(&Frame, &FrameTraits)| !traits.allocates;
        let nearest = stack.iter().position(wants).or((!stack.is_empty()).then_some(0));
        let origin_of = |at: usize| stack.get(at).map(|(_, traits)| traits.origin);
        let named = stack.iter().position(|frame| wants(frame) && frame.1.named);
        let leaf = match (nearest, named) {
            (Some(nearest), Some(named)) if origin_of(nearest) == origin_of(named) => Some(named),
            _ => nearest,
        };
        let application = line_of_java(stack);
        let owner = application.or_else(|| first_of(CodeOrigin::Library).filter(|_| native == stack.len()));
        let rule = {
            let innermost = named.and_then(|at| stack.get(at)).map(|(_, traits)| &*traits.conditions);
            self.rules.iter().find(|rule| rule.holds(source, &holding, innermost.unwrap_or_default()))
        };
        let told_by = rule.and_then(|rule| rule.any).and_then(|condition| {
            let tells = |(at, (_, traits)): (usize, &(&Frame, &FrameTraits))| {
                speaks(at, traits) && has(&traits.conditions, condition)
            };
            stack.iter().enumerate().position(tells)
        });
        let told_by = told_by.or(named.filter(|_| rule.is_some_and(|rule| rule.leaf.is_some())));
        let called = application.and_then(|owner| {
            let below = stack.get(..owner)?;
            below.iter().rposition(|(_, traits)| traits.origin != CodeOrigin::Stub)
        });
        let cause = if application.is_some() { called } else { told_by };
        let cause = cause.filter(|&cause| {
            Some(cause) != leaf
                && Some(cause) != owner
                && leaf.is_none_or(|leaf| leaf < cause)
                && owner.is_none_or(|owner| cause < owner)
        });
        let (category, kind) = match rule {
            Some(rule) => (rule.category.clone(), rule.kind.clone()),
            None => self.without_rule(stack, complete),
        };
        Attribution { category, kind, leaf, cause, owner }
    }

    /// A stack that no rule takes: a library's, the JVM's, the C library's, or unknown.
    fn without_rule(&self, stack: &[(&Frame, &FrameTraits)], complete: bool) -> (String, Option<String>) {
        let module = |origin: CodeOrigin, frames: &[(&Frame, &FrameTraits)]| {
            let (frame, _) = frames.iter().find(|(_, traits)| traits.origin == origin)?;
            frame.module.as_deref().map(library_name)
        };
        let native = stack.split(|(_, traits)| traits.is_java()).next().unwrap_or_default();
        if let Some(library) = module(CodeOrigin::Library, native) {
            return (format!("native:{library}"), None);
        }
        if let Some(library) = library_that_jumped(stack, native.len()) {
            return (format!("native:{library}"), None);
        }
        if let Some(library) = module(CodeOrigin::Jdk, stack) {
            return ("jvm".to_owned(), Some(library).filter(|library| !matches(&self.jvm, library)));
        }
        let has = |origin: CodeOrigin| stack.iter().any(|(_, traits)| traits.origin == origin);
        let category = if stack.iter().any(|(_, traits)| traits.is_java()) || has(CodeOrigin::Stub) {
            "jvm"
        } else if complete && has(CodeOrigin::Runtime) {
            "libc"
        } else {
            "unknown"
        };
        (category.to_owned(), None)
    }
}

/// The library whose native method called the allocator, and nothing else stands between them: a function that ends in
/// a call of another one jumps there, and leaves no frame. `native`: how many frames there are before the method's.
fn library_that_jumped(stack: &[(&Frame, &FrameTraits)], native: usize) -> Option<String> {
    let (method, traits) = stack.get(native)?;
    let between = stack.get(..native).unwrap_or_default();
    let is_alone =
        between.iter().all(|(_, traits)| matches!(traits.origin, CodeOrigin::Runtime | CodeOrigin::Stub));
    let is_library = traits.function_origin == Some(CodeOrigin::Library);
    (is_alone && is_library).then(|| method.module.as_deref().map(library_name)).flatten()
}

/// Methods of a class loader that stand on every stack which loads a class, whoever asked for it.
fn loads_classes(function: &str) -> bool {
    let method = function.rsplit('.').next().unwrap_or_default();
    ["findClass", "loadClass"].contains(&method)
}

/// The innermost Java frame that is the application's own; where none is known to be, the innermost that is no binding's;
/// else the binding's. A method that is declared `native` has no line that can be changed, so its caller is taken, if
/// there is one.
fn line_of_java(stack: &[(&Frame, &FrameTraits)]) -> Option<usize> {
    let is = |at: usize, origin: CodeOrigin| stack.get(at).is_some_and(|(_, traits)| traits.origin == origin);
    // Methods with code of their own call nothing but the JVM and its stubs.
    let is_native = |at: usize| {
        let jumps =
            |(_, traits): &(&Frame, &FrameTraits)| traits.function_origin == Some(CodeOrigin::Library);
        stack.get(at).is_some_and(jumps)
            || at.checked_sub(1).is_some_and(|inner| is(inner, CodeOrigin::Library))
    };
    let innermost = |is_wanted: &dyn Fn(usize) -> bool| {
        let mut wanted = (0..stack.len()).filter(|&at| is_wanted(at));
        wanted.clone().find(|&at| !is_native(at)).or_else(|| wanted.next())
    };
    innermost(&|at| stack.get(at).is_some_and(|(_, traits)| traits.is_own))
        .or_else(|| innermost(&|at| is(at, CodeOrigin::Application)))
        .or_else(|| innermost(&|at| is(at, CodeOrigin::Binding)))
}

impl Rule {
    /// Does the rule hold for a stack in which the conditions `holding` hold for some frame, and the conditions
    /// `innermost` for the innermost one that has a name and is not the allocator?
    fn holds(&self, source: &Source, holding: &[u64], innermost: &[u64]) -> bool {
        let source_holds = match (self.source, source) {
            (None, _)
            | (Some(SourceName::Allocator), Source::Allocator)
            | (Some(SourceName::Mapping), Source::Mapping(_)) => true,
            (Some(_), _) => false,
        };
        let mapping_holds = match source {
            _ if self.mapping.is_empty() => true,
            Source::Allocator => false,
            Source::Mapping(kind) => matches(&self.mapping, kind),
        };
        let told = match (self.any, self.leaf) {
            (None, None) => true,
            (any, leaf) => {
                any.is_some_and(|condition| has(holding, condition))
                    || leaf.is_some_and(|condition| has(innermost, condition))
            }
        };
        source_holds && mapping_holds && told && self.with.is_none_or(|condition| has(holding, condition))
    }
}

fn has(bits: &[u64], condition: usize) -> bool {
    bits.get(condition / 64).is_some_and(|word| word >> (condition % 64) & 1 == 1)
}

#[cfg(test)]
mod tests;
