import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;

/** A decoy: the newest 200 pages are kept in direct buffers, which are used again when a page is evicted. */
final class BufferCache {
    private static final LinkedHashMap<Integer, ByteBuffer> PAGES = new LinkedHashMap<>();

    public static void main(String[] arguments) throws Exception {
        load(-1);
        Story.tell(BufferCache::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        pace.collecting(5);
        for (int i = 0; pace.next(50); i++) {
            load(i);
        }
        return Story.done();
    }

    private static void load(int number) {
        ByteBuffer page = null;
        if (PAGES.size() >= 200) {
            Map.Entry<Integer, ByteBuffer> eldest = PAGES.entrySet().iterator().next();
            PAGES.remove(eldest.getKey());
            page = eldest.getValue();
        }
        if (page == null) {
            page = ByteBuffer.allocateDirect(64 << 10);
        }
        page.putInt(0, number);
        PAGES.put(number, page);
    }
}
