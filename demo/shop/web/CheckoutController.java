package shop.web;

import java.io.IOException;

import shop.catalog.ThumbnailCache;
import shop.checkout.ReceiptArchive;
import shop.notify.Mailer;

/** Serves one purchase: its receipt, a picture of the article, and sometimes a mail. */
public final class CheckoutController {
    private final ReceiptArchive receipts = new ReceiptArchive();
    private final ThumbnailCache thumbnails = new ThumbnailCache();
    private final Mailer mailer = new Mailer();

    public void handle(int order) throws IOException {
        byte[] stored = receipts.store("order " + order + ": 1 bicycle, 1 bell, no basket\n");
        receipts.load(order, stored);
        if (order % 10 == 0) {
            thumbnails.render(order);
        }
        if (order % 120 == 0) {
            mailer.send(order);
        }
    }
}
