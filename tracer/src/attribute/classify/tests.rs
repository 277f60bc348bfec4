//! Stacks as JVMs make them, and what they must be found to be.

use super::*;

const LIBC: &str = "/usr/lib/x86_64-linux-gnu/libc.so.6";
const LIBJVM: &str = "/usr/lib/jvm/java-17/lib/server/libjvm.so";
const LIBZ: &str = "/usr/lib/x86_64-linux-gnu/libz.so.1.2.13";

fn native(function: &str, module: &str) -> Frame {
    Frame { module: Some(module.to_owned()), ..Frame::named(function, FrameKind::Native) }
}

fn java(function: &str) -> Frame {
    Frame::named(function, FrameKind::Java)
}

/// A stack from text: `module!function`, `J package.Class.method`, `S stub`.
fn stack(text: &[&str]) -> Vec<Frame> {
    let frame = |text: &&str| match text.split_once('!') {
        Some((module, function)) => {
            let module = match module {
                "c" => LIBC,
                "jvm" => LIBJVM,
                "z" => LIBZ,
                other => other,
            };
            native(function, module)
        }
        None => match text.split_once(' ') {
            Some(("S", name)) => Frame::named(name, FrameKind::Stub),
            Some((_, name)) => java(name),
            None => java(text),
        },
    };
    text.iter().map(frame).collect()
}

fn attribution(text: &[&str], source: &Source, complete: bool) -> (String, String) {
    let rules = Rules::builtin();
    let frames = stack(text);
    let application = Application::default();
    let traits: Vec<FrameTraits> = frames.iter().map(|frame| rules.frame(frame, &application)).collect();
    let pairs: Vec<_> = frames.iter().zip(&traits).collect();
    let found = rules.classify(&pairs, source, complete);
    let name = |at: Option<usize>| {
        at.and_then(|at| frames.get(at)).map_or_else(|| "-".to_owned(), |frame| frame.function.clone())
    };
    let kind = found.kind.map(|kind| format!("/{kind}")).unwrap_or_default();
    (
        format!("{}{kind}", found.category),
        format!("{} > {} > {}", name(found.leaf), name(found.cause), name(found.owner)),
    )
}

#[test]
fn stacks_of_the_allocator() {
    for (text, category, way) in [
        (
            &[
                "c!malloc",
                "z!inflateInit2_",
                "/jdk/lib/libzip.so!Java_java_util_zip_Inflater_init",
                "J java.util.zip.Inflater.init",
                "J java.util.zip.Inflater.<init>",
                "J java.util.zip.GZIPInputStream.<init>",
                "J com.acme.Feed.open",
                "J com.acme.Feed.main",
                "S call_stub",
                "jvm!JavaCalls::call_helper(JavaValue*, methodHandle const&, JavaCallArguments*, JavaThread*)",
                "c!start_thread",
            ][..],
            "zlib/inflate",
            "inflateInit2_ > java.util.zip.GZIPInputStream.<init> > com.acme.Feed.open",
        ),
        (
            &[
                "c!malloc",
                "/jdk/lib/libzip.so!deflateInit2_",
                "/jdk/lib/libzip.so!Java_java_util_zip_Deflater_init",
            ],
            "zlib/deflate",
            "deflateInit2_ > - > -",
        ),
        (
            &[
                "c!malloc",
                "jvm!os::malloc(unsigned long, MEMFLAGS)",
                "jvm!Unsafe_AllocateMemory0",
                "J jdk.internal.misc.Unsafe.allocateMemory0",
                "J java.nio.DirectByteBuffer.<init>",
                "J java.nio.ByteBuffer.allocateDirect",
                "J com.acme.Pool.fill",
            ],
            "direct-buffer/byte-buffer",
            "Unsafe_AllocateMemory0 > java.nio.ByteBuffer.allocateDirect > com.acme.Pool.fill",
        ),
        (
            &[
                "c!malloc",
                "jvm!Unsafe_AllocateMemory0",
                "J java.nio.DirectByteBuffer.<init>",
                "J sun.nio.ch.Util.getTemporaryDirectBuffer",
                "J com.acme.Net.read",
            ],
            "direct-buffer/nio-temporary",
            "Unsafe_AllocateMemory0 > sun.nio.ch.Util.getTemporaryDirectBuffer > com.acme.Net.read",
        ),
        (
            &[
                "c!malloc",
                "jvm!Unsafe_AllocateMemory0",
                "J jdk.internal.misc.Unsafe.allocateMemory",
                "J sun.nio.fs.NativeBuffers.getNativeBufferFromCache",
                "J java.nio.file.Files.readAttributes",
                "J com.acme.Disk.list",
            ],
            "direct-buffer/nio-temporary",
            "Unsafe_AllocateMemory0 > java.nio.file.Files.readAttributes > com.acme.Disk.list",
        ),
        (
            &["c!malloc", "jvm!Unsafe_AllocateMemory0", "J com.acme.Off.heap"],
            "direct-buffer/unsafe",
            "Unsafe_AllocateMemory0 > - > com.acme.Off.heap",
        ),
        (
            &[
                "c!malloc",
                "jvm!AllocateHeap(unsigned long, MEMFLAGS)",
                "jvm!SymbolTable::new_symbols(ClassLoaderData*)",
                "jvm!ClassFileParser::parse_stream(ClassFileStream const*)",
                "jvm!JVM_DefineClassWithSource",
                "J java.lang.ClassLoader.defineClass1",
                "J com.acme.Plugin.load",
            ],
            "symbol",
            "SymbolTable::new_symbols(ClassLoaderData*) > java.lang.ClassLoader.defineClass1 > com.acme.Plugin.load",
        ),
        (
            &["c!malloc", "jvm!AllocateHeap(unsigned long)", "jvm!ClassFileParser::ClassFileParser()"],
            "class",
            "ClassFileParser::ClassFileParser() > - > -",
        ),
        (
            &[
                "c!malloc",
                "jvm!Arena::grow(unsigned long)",
                "jvm!PhaseChaitin::Select()",
                "jvm!Compile::Compile(ciEnv*)",
                "jvm!CompileBroker::compiler_thread_loop()",
                "c!start_thread",
            ],
            "compiler",
            "PhaseChaitin::Select() > Compile::Compile(ciEnv*) > -",
        ),
        (
            &[
                "c!malloc",
                "jvm!JNIHandles::make_global(Handle)",
                "jvm!jni_NewGlobalRef",
                "/opt/lib/libacme.so!hold",
                "J com.acme.Native.hold",
            ],
            "jni",
            "JNIHandles::make_global(Handle) > hold > com.acme.Native.hold",
        ),
        (
            &[
                "c!malloc",
                "c!operator new(unsigned long)",
                "/tmp/librocksdbjni-linux64.so!rocksdb::Arena::Allocate",
                "J org.rocksdb.RocksDB.put",
                "J com.acme.Store.put",
            ],
            "native:librocksdbjni-linux64.so",
            "rocksdb::Arena::Allocate > org.rocksdb.RocksDB.put > com.acme.Store.put",
        ),
        (
            &[
                "c!calloc",
                "c!_dl_allocate_tls",
                "c!pthread_create",
                "jvm!os::create_thread(Thread*)",
                "jvm!JVM_StartThread",
                "J java.lang.Thread.start0",
            ],
            "thread",
            "_dl_allocate_tls > - > -",
        ),
        (
            &[
                "c!malloc",
                "jvm!os::malloc(unsigned long)",
                "jvm!JNIHandleBlock::allocate_block(Thread*)",
                "jvm!JavaCallWrapper::JavaCallWrapper(methodHandle const&)",
                "jvm!JavaCalls::call_helper(JavaValue*)",
                "jvm!JavaThread::thread_main_inner()",
                "c!start_thread",
            ],
            "thread",
            "JNIHandleBlock::allocate_block(Thread*) > - > -",
        ),
        (
            &[
                "c!malloc",
                "jvm!JNIHandleBlock::allocate_block(Thread*)",
                "jvm!jni_NewLocalRef",
                "/opt/lib/libacme.so!hold",
                "J com.acme.Native.hold",
                "S call_stub",
                "jvm!JavaThread::run()",
            ],
            "jni/local",
            "JNIHandleBlock::allocate_block(Thread*) > hold > com.acme.Native.hold",
        ),
        (&["c!malloc", "jvm!G1CardSet::add(unsigned long)"], "gc", "G1CardSet::add(unsigned long) > - > -"),
        (
            &["c!malloc", "jvm!os::malloc(unsigned long)", "jvm!PerfDataManager::create()"],
            "jvm",
            "PerfDataManager::create() > - > -",
        ),
        (
            &["c!malloc", "/jdk/lib/libnet.so!NET_Foo", "J sun.nio.ch.Net.poll"],
            "jvm/libnet.so",
            "NET_Foo > - > -",
        ),
        (&["c!malloc", "c!getaddrinfo", "c!start_thread"], "libc", "getaddrinfo > - > -"),
        (
            &["c!malloc", "/opt/app/leaky!grow", "/opt/app/leaky!main", "c!_start"],
            "native:leaky",
            "grow > - > grow",
        ),
        (
            &["c!malloc", "jvm!JvmtiEnv::Allocate(long)", "/opt/libagent.so!cb"],
            "jvmti",
            "JvmtiEnv::Allocate(long) > - > cb",
        ),
    ] {
        let found = attribution(text, &Source::Allocator, true);
        assert_eq!(found, (category.to_owned(), way.to_owned()), "{text:?}");
    }
}

#[test]
fn the_owner_has_a_line_and_is_no_binding() {
    const ZSTD: &str = "/tmp/libzstd-jni-1.5.5-4.so!ZSTD_createCCtx";
    for (text, way) in [
        // Code that binds a library is not who decides, and neither is the JDK between the two.
        (
            &[
                "c!malloc",
                ZSTD,
                "J com.github.luben.zstd.ZstdOutputStreamNoFinalizer.createCStream",
                "J com.github.luben.zstd.ZstdOutputStreamNoFinalizer.<init>",
                "J java.io.FilterOutputStream.write",
                "J com.acme.Queue.pack",
                "J com.acme.Queue.main",
            ][..],
            "ZSTD_createCCtx > java.io.FilterOutputStream.write > com.acme.Queue.pack",
        ),
        // A method that is declared `native` has no line; its caller has one.
        (
            &["c!malloc", "/opt/libacme.so!hold", "J com.acme.Native.hold", "J com.acme.Feed.open"],
            "hold > com.acme.Native.hold > com.acme.Feed.open",
        ),
        // Memory that the JVM allocates for a method is that method's.
        (
            &["c!malloc", "jvm!Unsafe_AllocateMemory0", "J com.acme.Off.heap", "J com.acme.Feed.open"],
            "Unsafe_AllocateMemory0 > - > com.acme.Off.heap",
        ),
        // Nobody else is there.
        (
            &["c!malloc", "/opt/libacme.so!hold", "J com.acme.Native.hold", "J java.lang.Thread.run"],
            "hold > - > com.acme.Native.hold",
        ),
        (
            &[
                "c!malloc",
                ZSTD,
                "J com.github.luben.zstd.ZstdCompressCtx.init",
                "J com.github.luben.zstd.ZstdCompressCtx.<init>",
                "J java.lang.Thread.run",
            ],
            "ZSTD_createCCtx > com.github.luben.zstd.ZstdCompressCtx.init > com.github.luben.zstd.ZstdCompressCtx.<init>",
        ),
    ] {
        assert_eq!(attribution(text, &Source::Allocator, true).1, way, "{text:?}");
    }
}

#[test]
fn a_native_method_that_jumps_to_the_allocator_is_its_librarys() {
    let rules = Rules::builtin();
    let method = |module: &str| Frame { module: Some(module.to_owned()), ..java("com.acme.Off.reserve") };
    let told = |leaf: &[&str], module: &str| {
        let mut frames = stack(leaf);
        frames.extend([method(module), java("com.acme.Atlas.load")]);
        (rules.category(&frames, &Source::Allocator), rules.owner(&frames).unwrap_or_default())
    };
    let of_library = ("native:liboff.so".to_owned(), "com.acme.Atlas.load".to_owned());
    assert_eq!(told(&[], "/opt/liboff.so"), of_library);
    assert_eq!(told(&["c!malloc"], "/opt/liboff.so"), of_library);
    // The JVM stands between, or it is the JDK's own method.
    assert_eq!(told(&["c!malloc", "jvm!os::malloc(unsigned long)"], "/opt/liboff.so").0, "jvm");
    assert_eq!(told(&["c!malloc"], "/jdk/lib/libnet.so").0, "jvm");
}

#[test]
fn references_of_a_thread_that_calls_java_are_its_codes() {
    let blocks =
        ["c!malloc", "jvm!AllocateHeap(unsigned long)", "jvm!JNIHandleBlock::allocate_block(Thread*)"];
    let of = |rest: &[&str]| attribution(&[&blocks[..], rest].concat(), &Source::Allocator, true);
    let called = of(&[
        "jvm!JavaCallWrapper::JavaCallWrapper(methodHandle const&)",
        "jvm!jni_invoke_static(JNIEnv_*)",
        "jvm!jni_CallStaticVoidMethod",
        "/opt/libfeed.so!loop",
        "c!start_thread",
    ]);
    assert_eq!(called.0, "jni/local");
    assert!(called.1.ends_with("> loop"), "{}", called.1);
}

#[test]
fn monitors_are_no_references_of_jni() {
    let inflate =
        ["jvm!ObjectSynchronizer::inflate(Thread*)", "jvm!JVM_MonitorWait", "J java.lang.Object.wait"];
    let of = |first: &[&str]| attribution(&[first, &inflate[..]].concat(), &Source::Allocator, true).0;
    assert_eq!(of(&["c!malloc", "jvm!os::malloc(unsigned long)"]), "monitor");
    let storage = ["c!malloc", "jvm!OopStorage::allocate()", "jvm!ObjectMonitor::ObjectMonitor(oopDesc*)"];
    assert_eq!(of(&storage), "monitor");
}

#[test]
fn generated_code_is_the_lines_that_asked_for_it() {
    let loaded = ["c!malloc", "jvm!ClassFileParser::parse_stream()", "J java.lang.ClassLoader.defineClass1"];
    for generator in [
        &["J groovy.lang.GroovyClassLoader.access$400", "J groovy.lang.GroovyShell.evaluate"][..],
        &[
            "J org.codehaus.commons.compiler.util.reflect.ByteArrayClassLoader.findClass",
            "J java.lang.Class.forName",
        ],
        &[
            "J net.bytebuddy.dynamic.loading.ByteArrayClassLoader.access$300",
            "J net.bytebuddy.ByteBuddy.make",
        ],
        &["J com.acme.plugin.PluginLoader.findClass", "J java.lang.ClassLoader.loadClass"],
    ] {
        let text = [&loaded[..], generator, &["J com.acme.Rules.compile", "J com.acme.Main.main"]].concat();
        let (category, way) = attribution(&text, &Source::Allocator, true);
        assert_eq!(category, "class", "{text:?}");
        assert!(way.ends_with("> com.acme.Rules.compile"), "{way}");
    }
}

#[test]
fn a_library_between_the_application_and_the_jdk_has_no_line() {
    let rules = Rules::builtin();
    let line = |text: &[&str], main: &str| {
        let application = Application::of_main(Some(main), &rules);
        let frames = stack(text);
        let traits: Vec<FrameTraits> = frames.iter().map(|frame| rules.frame(frame, &application)).collect();
        let pairs: Vec<_> = frames.iter().zip(&traits).collect();
        let owner = rules.classify(&pairs, &Source::Allocator, true).owner;
        owner.and_then(|owner| frames.get(owner)).map(|frame| frame.function.clone()).unwrap_or_default()
    };
    let library = "org.acme.compress.GzipInput.read";
    let zlib = ["c!malloc", "z!inflateInit2_", "J java.util.zip.Inflater.init"];
    let called = |rest: &[&'static str]| [&zlib[..], &["J org.acme.compress.GzipInput.read"], rest].concat();
    let text = called(&["J com.shop.Imports.open", "J com.shop.Main.main"]);
    assert_eq!(line(&text, "com.shop.Main"), "com.shop.Imports.open");
    // Not known whose; a thread of the library's own; called by the main method alone.
    assert_eq!(line(&text, "/srv/shop.jar"), library);
    assert_eq!(line(&called(&["J java.lang.Thread.run"]), "com.shop.Main"), library);
    assert_eq!(line(&called(&["J com.shop.Main.main"]), "com.shop.Main"), library);
    // A native method of the application's has no line, but its caller has.
    let native =
        ["/opt/liboff.so!Java_com_shop_Off_reserve", "J com.shop.Off.reserve", "J com.shop.Atlas.load"];
    assert_eq!(line(&native, "com.shop.Main"), "com.shop.Atlas.load");
}

#[test]
fn a_cut_stack_is_not_called_the_c_librarys() {
    assert_eq!(attribution(&["c!malloc"], &Source::Allocator, false).0, "unknown");
    assert_eq!(attribution(&["c!malloc"], &Source::Allocator, true).0, "libc");
    assert_eq!(attribution(&[], &Source::Allocator, false), ("unknown".to_owned(), "- > - > -".to_owned()));
}

#[test]
fn mappings() {
    let file = "file:/data/index.bin";
    for (text, kind, category) in [
        (
            &["c!mmap64", "c!pthread_create", "jvm!os::create_thread(Thread*)"][..],
            "anonymous",
            "thread-stack",
        ),
        (
            &["c!mmap64", "jvm!os::commit_memory(char*)", "jvm!CodeHeap::expand_by(unsigned long)"],
            "anonymous",
            "code-cache",
        ),
        (&["c!mmap64", "jvm!G1PageBasedVirtualSpace::commit()"], "java-heap", "java-heap"),
        (&["c!mmap64", "jvm!G1PageBasedVirtualSpace::commit()"], "anonymous", "gc"),
        (&["c!mmap64", "jvm!metaspace::VirtualSpaceNode::commit_range()"], "anonymous", "metaspace"),
        (&["c!mmap64", "/jdk/lib/libnio.so!Java_sun_nio_ch_FileChannelImpl_map0"], file, "mapped-file"),
        (&["c!mmap64", "/opt/libacme.so!reserve"], "anonymous", "native:libacme.so"),
        (&["c!mmap64", "/opt/libacme.so!open"], file, "mapped-file"),
        (&["c!mmap64", "c!sysmalloc", "c!malloc", "z!inflateInit2_"], "anonymous", "allocator"),
        (&["c!mmap64", "c!malloc", "jvm!os::malloc(unsigned long)"], "anonymous", "allocator"),
        (&["c!mmap64", "c!arena_get2", "c!free", "/opt/libacme.so!drop"], "anonymous", "allocator"),
        (&[], "thread-stack", "thread-stack"),
        (&[], "anonymous", "unknown"),
    ] {
        let source = Source::Mapping(kind.to_owned());
        assert_eq!(attribution(text, &source, true).0, category, "{text:?} {kind}");
    }
}

#[test]
fn what_java_called_is_not_the_librarys() {
    // A program that embeds a JVM: its own frames are at the root of every stack.
    let text = [
        "c!malloc",
        "jvm!os::malloc(unsigned long)",
        "jvm!Perf()",
        "J java.lang.Thread.run",
        "/opt/app/launcher!main",
    ];
    assert_eq!(attribution(&text, &Source::Allocator, true).0, "jvm");
}

#[test]
fn a_leaf_without_a_name_gives_way_to_its_caller_in_the_same_code() {
    let rules = Rules::builtin();
    let leaf = |text: &[&str]| {
        let unknown = Frame::unknown(FrameKind::Native, crate::symbolize::UnknownReason::NoSymbol);
        let mut frames = vec![Frame { module: Some(LIBZ.to_owned()), ..unknown }];
        frames.extend(stack(text));
        rules.attribute(&frames, &Source::Allocator).leaf
    };
    assert_eq!(leaf(&["z!inflate", "J java.util.zip.Inflater.inflate"]), Some(1));
    assert_eq!(leaf(&["J java.util.zip.Inflater.inflate"]), Some(0));
    assert_eq!(leaf(&[]), Some(0));
}

#[test]
fn a_class_initializer_that_runs_the_application_is_no_class_loading() {
    let text = [
        "c!malloc",
        "/opt/libacme.so!hold",
        "J com.acme.Native.hold",
        "J com.acme.Main.<clinit>",
        "jvm!InstanceKlass::call_class_initializer(JavaThread*)",
        "jvm!InstanceKlass::initialize_impl(JavaThread*)",
        "c!start_thread",
    ];
    assert_eq!(attribution(&text, &Source::Allocator, true).0, "native:libacme.so");
}

#[test]
fn a_method_without_a_name_owns_nothing() {
    let rules = Rules::builtin();
    let mut frames = stack(&["c!malloc", "jvm!Unsafe_AllocateMemory0"]);
    frames.push(Frame::unknown(FrameKind::Java, crate::symbolize::UnknownReason::FreedCode));
    frames.push(java("com.acme.Pool.fill"));
    assert_eq!(rules.owner(&frames).as_deref(), Some("com.acme.Pool.fill"));
    assert_eq!(rules.category(&frames, &Source::Allocator), "direct-buffer");
}
