//! Stacks that define classes, by what generated the class.
//!
//! The JVM does not tell which class a stack defined, but each definition allocates: names, tables, a class loader's
//! own. So the generator is known by the frames between the owner and the JVM.

use super::history::GroupId;

/// The groups and the code that tell whether classes are made over and over.
pub struct ClassChurn {
    /// Memory that class loaders themselves take.
    pub loaders: GroupId,
    /// Stacks on which classes are loaded or defined.
    pub loading: GroupId,
    /// Stacks on which classes that are there already are defined anew.
    pub redefining: GroupId,
    /// Memory that the classes generated (lambdas, proxies) for each line took when they were defined.
    pub generating: Vec<GroupId>,
    /// Bytes of code that such classes have at the end; `None` if it is not known.
    pub generated_bytes: Option<u64>,
}

/// Generator of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generator {
    Lambda,
    MethodHandle,
    Proxy,
    Reflection,
    /// A class loader that is not the JDK's, or a library's generator.
    Loader,
}

/// Beginnings of functions that define a class.
const DEFINES: [&str; 12] = [
    "jvm_define_class_common",
    "jvm_lookup_define_class",
    "JVM_DefineClass",
    "JVM_LookupDefineClass",
    "Unsafe_DefineClass",
    "Unsafe_DefineAnonymousClass",
    "java.lang.ClassLoader.defineClass",
    "java.lang.invoke.MethodHandles$Lookup$ClassDefiner.defineClass",
    "java.lang.invoke.InnerClassLambdaMetafactory.spinInnerClass",
    "jdk.internal.misc.Unsafe.defineAnonymousClass",
    "jdk.internal.misc.Unsafe.defineClass",
    "sun.misc.Unsafe.define",
];
/// Beginnings of functions that load a class, beside those that define one.
const LOADS: [&str; 6] = [
    "ClassLoader::load_class",
    "SystemDictionary::load_",
    "SystemDictionary::resolve_",
    "SystemDictionary::parse_stream",
    "KlassFactory::create_from_stream",
    "ClassFileParser::",
];
/// Beginnings of functions that define a class that is there already anew.
const REDEFINES: [&str; 3] =
    ["VM_RedefineClasses", "JvmtiEnv::RetransformClasses", "JvmtiEnv::RedefineClasses"];
/// The JDK's own loaders: what they define is the program.
const OF_PROGRAM: &str = "jdk.internal.loader.";
/// Beginnings of Java frames that tell the generator.
const GENERATORS: [(&str, Generator); 7] = [
    ("java.lang.invoke.InnerClassLambdaMetafactory.", Generator::Lambda),
    ("java.lang.invoke.InvokerBytecodeGenerator.", Generator::MethodHandle),
    ("java.lang.reflect.Proxy", Generator::Proxy),
    ("jdk.internal.reflect.MethodAccessorGenerator.", Generator::Reflection),
    ("jdk.internal.reflect.ClassDefiner.", Generator::Reflection),
    ("sun.reflect.MethodAccessorGenerator.", Generator::Reflection),
    ("sun.reflect.ClassDefiner.", Generator::Reflection),
];
/// Beginnings of what stands between a generator and the code that asked for the class.
const BETWEEN: [&str; 5] = ["java.lang.", "java.security.", "jdk.internal.", "sun.misc.", "sun.reflect."];
/// Marks in the names of the classes that each makes.
const MARKS: [(&str, Generator); 4] = [
    ("$$Lambda", Generator::Lambda),
    ("LambdaForm$", Generator::MethodHandle),
    ("$Proxy", Generator::Proxy),
    ("Accessor", Generator::Reflection),
];

impl Generator {
    /// Generator of the class that a stack defines, leaf first. `None` if it defines none, or one of the program's own.
    pub fn of<'a>(category: &str, functions: impl Iterator<Item = &'a str> + Clone) -> Option<Generator> {
        // Where such stacks are, so that those of others need not be read.
        if !["class", "metaspace", "symbol", "jvm"].contains(&category) {
            return None;
        }
        let defines = |name: &str| DEFINES.iter().any(|begin| name.starts_with(begin));
        let from = functions.clone().position(defines)?;
        let told = |name: &str| {
            GENERATORS.iter().find(|(begin, _)| name.starts_with(begin)).map(|(_, generator)| *generator)
        };
        if let Some(generator) = functions.clone().skip(from).find_map(told) {
            return Some(generator);
        }
        (!functions.skip(from).any(|name| name.starts_with(OF_PROGRAM))).then_some(Generator::Loader)
    }

    /// Generator of classes with such a name.
    pub fn of_class(name: &str) -> Generator {
        let found = MARKS.iter().find(|(mark, _)| name.contains(mark));
        found.map_or(Generator::Loader, |(_, generator)| *generator)
    }
}

/// A function's part in what its stack does with classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClassWork {
    /// The stack loads or defines one.
    Loads,
    /// The stack defines one anew that is there already.
    Redefines,
}

impl ClassWork {
    /// The part of the function with this plain name.
    pub fn of(name: &str) -> Option<ClassWork> {
        let begins = |begins: &[&str]| begins.iter().any(|begin| name.starts_with(begin));
        if Self::redefines(name) {
            return Some(ClassWork::Redefines);
        }
        (begins(&DEFINES) || begins(&LOADS)).then_some(ClassWork::Loads)
    }

    /// Does the function with this plain name define a class anew?
    pub fn redefines(name: &str) -> bool {
        REDEFINES.iter().any(|begin| name.starts_with(begin))
    }

    /// Action of a stack of such functions: whoever defines a class anew loads it, too.
    pub fn of_stack(functions: impl Iterator<Item = Option<ClassWork>>) -> Option<ClassWork> {
        functions.flatten().max()
    }
}

/// Is the Java method with this name one that can ask for a class, not a part of the machinery that makes it?
pub fn asks(function: &str) -> bool {
    !BETWEEN.iter().any(|begin| function.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_told_by_the_frames() {
        let of = |frames: &[&'static str]| Generator::of("class", frames.iter().copied());
        let lookup = "java.lang.invoke.MethodHandles$Lookup$ClassDefiner.defineClass";
        let lambda = "java.lang.invoke.InnerClassLambdaMetafactory.generateInnerClass";
        assert_eq!(of(&["os::malloc", lookup, lambda, "Acme.spin"]), Some(Generator::Lambda));
        assert_eq!(of(&["os::malloc", lambda, "Acme.spin"]), None);
        let loader = "java.lang.ClassLoader.defineClass";
        assert_eq!(of(&["os::malloc", loader, "Acme.deploy"]), Some(Generator::Loader));
        assert_eq!(of(&[loader, "jdk.internal.loader.BuiltinClassLoader.defineClass", "Acme.main"]), None);
        assert_eq!(of(&[loader, "java.lang.reflect.Proxy$ProxyBuilder.build"]), Some(Generator::Proxy));
        assert!(
            !asks(lookup) && !asks("java.lang.System$1.defineClass") && asks("com.sun.tools.javac.Main.run")
        );
        let work = |stack: &[&str]| ClassWork::of_stack(stack.iter().map(|name| ClassWork::of(name)));
        assert_eq!(work(&["os::malloc", loader, "Acme.deploy"]), Some(ClassWork::Loads));
        let redefine =
            ["Metaspace::allocate", "ClassFileParser::parse_methods", "VM_RedefineClasses::doit_prologue"];
        assert_eq!(work(&redefine), Some(ClassWork::Redefines));
        assert_eq!(work(&["StringTable::intern"]), None);
        assert_eq!(Generator::of_class("Acme$$Lambda"), Generator::Lambda);
        assert_eq!(Generator::of_class("jdk.proxy1.$Proxy7"), Generator::Proxy);
        assert_eq!(Generator::of_class("Acme$Copied"), Generator::Loader);
    }
}
