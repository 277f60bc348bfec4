package shop.catalog;

import java.nio.ByteBuffer;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** Pictures, in memory outside the heap. */
public final class ThumbnailCache {
    private static final int PICTURE_BYTES = 96 * 1024;

    private final Map<Integer, ByteBuffer> pictures = new ConcurrentHashMap<>();

    /** The leak: a cache that never evicts. */
    public ByteBuffer render(int article) {
        return pictures.computeIfAbsent(article, key -> ByteBuffer.allocateDirect(PICTURE_BYTES));
    }
}
