/** One mode for each story: {@code java -cp CLASSES Stories MODE}. */
public final class Stories {
    public static void main(String[] arguments) throws Exception {
        Story.tell(work(arguments[0]));
    }

    private static Story.Work work(String mode) {
        switch (mode) {
            case "inflaters-kept":
                return Zip::keepStreams;
            case "deflater-per-connection":
                return Zip::keepDeflaters;
            case "inflaters-dropped":
                return pace -> Zip.dropInflaters(pace.collecting(2.4));
            case "inflaters-dropped-no-gc":
                return Zip::dropInflaters;
            case "deflaters-dropped":
                return pace -> Zip.dropDeflaters(pace.collecting(2.4));
            case "open-jars":
                return Zip::openJars;
            case "direct-kept":
                return Buffers::keep;
            case "direct-dropped-before-gc":
                return Buffers::drop;
            case "direct-pool":
                return Buffers::pool;
            case "nio-temporary":
                return Buffers::manyWriters;
            case "ffm-arena":
                return Buffers::openArenas;
            case "mapped-files":
                return Buffers::mapFiles;
            case "retention":
                return Buffers::fragment;
            case "executor-per-request":
                return Threads::executorPerRequest;
            case "threads-that-end":
                return Threads::startAndEnd;
            case "class-loaders-kept":
                return Classes::keepLoaders;
            case "generated-methods":
                return Classes::compileCopies;
            case "c2-burst":
                return Classes::compileLarge;
            case "warm-up":
                return Classes::warmUp;
            case "jni-globals":
                return Native::makeGlobals;
            case "jni-malloc":
                return Native::allocateAndForget;
            case "heap":
            case "heap-touched":
                return Heap::fill;
            case "remembered-sets":
                return Heap::crossRegions;
            case "contexts-dropped":
                return Zip::dropContexts;
            case "file-rotation":
                return Buffers::rotateFiles;
            case "cache-at-its-limit":
                return Buffers::evict;
            case "slow-leak":
                return Buffers::leakSlowly;
            case "rising-load":
                return Buffers::serveMore;
            case "lambdas-per-call":
                return Classes::spinLambdas;
            case "classes-loaded":
                return Classes::loadMany;
            case "own-cleaner":
                return Native::cleanUp;
            default:
                throw new IllegalArgumentException(mode);
        }
    }
}
