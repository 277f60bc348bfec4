package shop.checkout;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;

/** Compressed receipts. */
public final class ReceiptArchive {
    private final Map<Integer, GZIPInputStream> open = new ConcurrentHashMap<>();

    /** Compresses a receipt, and closes what it used. */
    public byte[] store(String receipt) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (GZIPOutputStream gzip = new GZIPOutputStream(bytes)) {
            gzip.write(receipt.getBytes(StandardCharsets.UTF_8));
        }
        return bytes.toByteArray();
    }

    /**
     * Reads the first byte of a receipt and keeps the stream "for later".
     *
     * <p>The leak: nobody closes it. To the Java heap this is a small object; behind it zlib holds its state and its
     * window, some 40 KB of native memory a receipt.
     */
    public int load(int order, byte[] stored) throws IOException {
        // A small read buffer, so that the heap hardly notices.
        GZIPInputStream gzip = new GZIPInputStream(new ByteArrayInputStream(stored), 64);
        open.put(order, gzip);
        return gzip.read();
    }
}
