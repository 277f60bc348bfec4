/** Stories of a library of the application's own: {@code -Dlibrary=PATH}. */
final class Native {
    /** Asks malloc for so many bytes, and forgets where they are. */
    private static native void forget(int bytes);

    /** Makes so many global references, and forgets them. */
    private static native void remember(Object object, int count);

    static String allocateAndForget(Story.Pace pace) throws Exception {
        System.load(System.getProperty("library"));
        pace.collecting(2.4);
        long count = 0;
        for (; pace.next(100); count++) {
            encode();
        }
        return Story.truth("native:libforget.so", "Native.forget", "leak", count * 10_007);
    }

    private static void encode() {
        forget(10_007);
    }

    static String makeGlobals(Story.Pace pace) throws Exception {
        System.load(System.getProperty("library"));
        pace.collecting(2.4);
        long count = 0;
        for (; pace.next(50); count += 1_000) {
            subscribe(new Object());
        }
        return Story.truth("jni", "Native.remember", "leak", count * 8);
    }

    private static void subscribe(Object listener) {
        remember(listener, 1_000);
    }

    private Native() {}
}
