/** One method as large as compilers take. */
final class Large {
    static long run(int[] data, int seed) {
        long sum = seed;
        for (int i = 0; i < 40; i++) {
            for (int j = 0; j < 8; j++) { sum += data[(i + 0 * j) & 255] * 3 ^ (data[(j * 1) & 255] + i % 2); data[(i + j + 0) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 1 * j) & 255] * 10 ^ (data[(j * 2) & 255] + i % 3); data[(i + j + 1) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 2 * j) & 255] * 17 ^ (data[(j * 3) & 255] + i % 4); data[(i + j + 2) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 3 * j) & 255] * 24 ^ (data[(j * 4) & 255] + i % 5); data[(i + j + 3) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 4 * j) & 255] * 31 ^ (data[(j * 5) & 255] + i % 6); data[(i + j + 4) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 5 * j) & 255] * 38 ^ (data[(j * 6) & 255] + i % 7); data[(i + j + 5) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 6 * j) & 255] * 45 ^ (data[(j * 7) & 255] + i % 8); data[(i + j + 6) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 7 * j) & 255] * 52 ^ (data[(j * 8) & 255] + i % 9); data[(i + j + 7) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 8 * j) & 255] * 59 ^ (data[(j * 9) & 255] + i % 10); data[(i + j + 8) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 9 * j) & 255] * 66 ^ (data[(j * 10) & 255] + i % 11); data[(i + j + 9) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 10 * j) & 255] * 73 ^ (data[(j * 11) & 255] + i % 12); data[(i + j + 10) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 11 * j) & 255] * 80 ^ (data[(j * 12) & 255] + i % 13); data[(i + j + 11) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 12 * j) & 255] * 87 ^ (data[(j * 13) & 255] + i % 14); data[(i + j + 12) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 13 * j) & 255] * 94 ^ (data[(j * 14) & 255] + i % 15); data[(i + j + 13) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 14 * j) & 255] * 101 ^ (data[(j * 15) & 255] + i % 16); data[(i + j + 14) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 15 * j) & 255] * 108 ^ (data[(j * 16) & 255] + i % 17); data[(i + j + 15) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 16 * j) & 255] * 115 ^ (data[(j * 17) & 255] + i % 18); data[(i + j + 16) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 17 * j) & 255] * 122 ^ (data[(j * 18) & 255] + i % 19); data[(i + j + 17) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 18 * j) & 255] * 129 ^ (data[(j * 19) & 255] + i % 20); data[(i + j + 18) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 19 * j) & 255] * 136 ^ (data[(j * 20) & 255] + i % 21); data[(i + j + 19) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 20 * j) & 255] * 143 ^ (data[(j * 21) & 255] + i % 22); data[(i + j + 20) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 21 * j) & 255] * 150 ^ (data[(j * 22) & 255] + i % 23); data[(i + j + 21) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 22 * j) & 255] * 157 ^ (data[(j * 23) & 255] + i % 24); data[(i + j + 22) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 23 * j) & 255] * 164 ^ (data[(j * 24) & 255] + i % 25); data[(i + j + 23) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 24 * j) & 255] * 171 ^ (data[(j * 25) & 255] + i % 26); data[(i + j + 24) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 25 * j) & 255] * 178 ^ (data[(j * 26) & 255] + i % 27); data[(i + j + 25) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 26 * j) & 255] * 185 ^ (data[(j * 27) & 255] + i % 28); data[(i + j + 26) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 27 * j) & 255] * 192 ^ (data[(j * 28) & 255] + i % 29); data[(i + j + 27) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 28 * j) & 255] * 199 ^ (data[(j * 29) & 255] + i % 30); data[(i + j + 28) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 29 * j) & 255] * 206 ^ (data[(j * 30) & 255] + i % 31); data[(i + j + 29) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 30 * j) & 255] * 213 ^ (data[(j * 31) & 255] + i % 32); data[(i + j + 30) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 31 * j) & 255] * 220 ^ (data[(j * 32) & 255] + i % 33); data[(i + j + 31) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 32 * j) & 255] * 227 ^ (data[(j * 33) & 255] + i % 34); data[(i + j + 32) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 33 * j) & 255] * 234 ^ (data[(j * 34) & 255] + i % 35); data[(i + j + 33) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 34 * j) & 255] * 241 ^ (data[(j * 35) & 255] + i % 36); data[(i + j + 34) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 35 * j) & 255] * 248 ^ (data[(j * 36) & 255] + i % 37); data[(i + j + 35) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 36 * j) & 255] * 255 ^ (data[(j * 37) & 255] + i % 38); data[(i + j + 36) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 37 * j) & 255] * 262 ^ (data[(j * 38) & 255] + i % 39); data[(i + j + 37) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 38 * j) & 255] * 269 ^ (data[(j * 39) & 255] + i % 40); data[(i + j + 38) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 39 * j) & 255] * 276 ^ (data[(j * 40) & 255] + i % 41); data[(i + j + 39) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 40 * j) & 255] * 283 ^ (data[(j * 41) & 255] + i % 42); data[(i + j + 40) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 41 * j) & 255] * 290 ^ (data[(j * 42) & 255] + i % 43); data[(i + j + 41) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 42 * j) & 255] * 297 ^ (data[(j * 43) & 255] + i % 44); data[(i + j + 42) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 43 * j) & 255] * 304 ^ (data[(j * 44) & 255] + i % 45); data[(i + j + 43) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 44 * j) & 255] * 311 ^ (data[(j * 45) & 255] + i % 46); data[(i + j + 44) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 45 * j) & 255] * 318 ^ (data[(j * 46) & 255] + i % 47); data[(i + j + 45) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 46 * j) & 255] * 325 ^ (data[(j * 47) & 255] + i % 48); data[(i + j + 46) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 47 * j) & 255] * 332 ^ (data[(j * 48) & 255] + i % 49); data[(i + j + 47) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 48 * j) & 255] * 339 ^ (data[(j * 49) & 255] + i % 50); data[(i + j + 48) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 49 * j) & 255] * 346 ^ (data[(j * 50) & 255] + i % 51); data[(i + j + 49) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 50 * j) & 255] * 353 ^ (data[(j * 51) & 255] + i % 52); data[(i + j + 50) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 51 * j) & 255] * 360 ^ (data[(j * 52) & 255] + i % 53); data[(i + j + 51) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 52 * j) & 255] * 367 ^ (data[(j * 53) & 255] + i % 54); data[(i + j + 52) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 53 * j) & 255] * 374 ^ (data[(j * 54) & 255] + i % 55); data[(i + j + 53) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 54 * j) & 255] * 381 ^ (data[(j * 55) & 255] + i % 56); data[(i + j + 54) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 55 * j) & 255] * 388 ^ (data[(j * 56) & 255] + i % 57); data[(i + j + 55) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 56 * j) & 255] * 395 ^ (data[(j * 57) & 255] + i % 58); data[(i + j + 56) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 57 * j) & 255] * 402 ^ (data[(j * 58) & 255] + i % 59); data[(i + j + 57) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 58 * j) & 255] * 409 ^ (data[(j * 59) & 255] + i % 60); data[(i + j + 58) & 255] += (int) sum; }
            for (int j = 0; j < 8; j++) { sum += data[(i + 59 * j) & 255] * 416 ^ (data[(j * 60) & 255] + i % 61); data[(i + j + 59) & 255] += (int) sum; }
        }
        return sum;
    }

    private Large() {}
}
