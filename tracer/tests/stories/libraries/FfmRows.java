import java.lang.reflect.Method;

/** Rows of a table in arenas of the foreign memory interface, by reflection: it came with 21, and for good with 22. */
final class FfmRows {
    private static Method arena;
    private static Method allocate;

    /** {@code ofAuto}: the arenas are dropped, and collections free them. {@code ofConfined}: a decoy, they are closed. */
    public static void main(String[] arguments) throws Exception {
        Class<?> arenas = Class.forName("java.lang.foreign.Arena");
        arena = arenas.getMethod(arguments[0]);
        allocate = arenas.getMethod("allocate", long.class, long.class);
        boolean dropped = arguments[0].equals("ofAuto");
        Story.tell(pace -> run(pace, dropped));
    }

    private static String run(Story.Pace pace, boolean dropped) throws Exception {
        if (dropped) {
            pace.collecting(5);
        }
        while (pace.next(40)) {
            if (dropped) {
                loadRows();
            } else {
                try (AutoCloseable arena = loadRows()) {
                    Story.litter(10_000);
                }
            }
        }
        return Story.done();
    }

    private static AutoCloseable loadRows() throws Exception {
        Object rows = arena.invoke(null);
        allocate.invoke(rows, 50_000L, 8L);
        return (AutoCloseable) rows;
    }
}
