#!/usr/bin/env python3
"""muster-train tokenize against another implementation: slow, plain, and of the standard library alone. Texts at random, of many languages,
with emoji, runs of white space and bytes that aren't UTF-8; the merges learned and the tokens must be the same, and spell the text again.
Exit: 0, 1, or 77 without the program."""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import unicodedata
import zlib

TRAIN = os.path.join(os.environ.get("BIN", "build/bin"), "muster-train")
SEEDS = int(os.environ.get("SEEDS", "40"))
END = "<|endoftext|>"
SPACES = {0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}


# ---- the other implementation ----

def kind(character):
    return "space" if ord(character) in SPACES else {"L": "letter", "N": "number"}.get(unicodedata.category(character)[0], "sign")


def pieces(text):
    """By the regular expression of GPT-2, an alternative after the other."""
    characters, at = text.decode("utf-8", "surrogateescape"), 0   # a byte that isn't UTF-8 becomes a surrogate: a sign
    while at < len(characters):
        end = next((at + len(c) for c in ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d") if characters.startswith(c, at)), at)
        for wanted in ("letter", "number", "sign"):
            if end == at:
                first = at + (characters[at] == " ")
                end = first
                while end < len(characters) and kind(characters[end]) == wanted:
                    end += 1
                end = end if end > first else at
        if end == at:
            while end < len(characters) and kind(characters[end]) == "space":
                end += 1
            end -= end < len(characters) and end - at > 1
        yield characters[at:end].encode("utf-8", "surrogateescape")
        at = end


def parts(text):
    """Plain stretches and marks of an end, in turn."""
    while text:
        plain, mark, text = text.partition(END.encode())
        yield plain, bool(mark)


def learn(text, vocabulary):
    words = [[bytes([b]) for b in piece] for plain, _ in parts(text) for piece in pieces(plain)]
    ids, merges = {bytes([b]): b for b in range(256)}, []
    while len(ids) < vocabulary - 1:
        counts = {}
        for word in words:
            for pair in zip(word, word[1:]):
                counts[pair] = counts.get(pair, 0) + 1
        best = min(counts, key=lambda p: (-counts[p], ids[p[0]], ids[p[1]]), default=None)
        if best is None or counts[best] < 2:
            break
        merges.append(best)
        ids[best[0] + best[1]] = len(ids)
        for word in words:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == best:
                    word[i:i + 2] = [best[0] + best[1]]
                i += 1
    return ids, merges


def encode(text, ids, ranks, end):
    tokens = []
    for plain, marked in parts(text):
        for piece in pieces(plain):
            word = [bytes([b]) for b in piece]
            while True:
                possible = [(ranks[pair], i) for i, pair in enumerate(zip(word, word[1:])) if pair in ranks]
                if not possible:
                    break
                _, i = min(possible)
                word[i:i + 2] = [word[i] + word[i + 1]]
            tokens += [ids[w] for w in word]
        tokens += [end] * marked
    return tokens


def alphabet():
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in own]
    return {**{b: chr(b) for b in own}, **{b: chr(256 + n) for n, b in enumerate(others)}}


# ---- texts ----

def random_text(rng, size):
    words = ["it's", "we'll", "THE", "low", "lower", "lowest", "naïve", "Straße", "мир", "миру", "中文", "日本語の",
             "한국어", "مرحبا", "नमस्ते", "ไทย", "e\u0301", "😀", "👩‍👩‍👧", "🇫🇷",
             "x1y2", "3.14", "١٢٣", "Ⅷ", "²", "--", "''", "'s", "!?", "\u200b", "\x1f", "_", END, "<|end"]
    gaps = [" "] * 8 + ["", "  ", "\n", "\n\n", "\t ", " \r\n", "\u00a0", "\u3000 ", "     ", "\u2028"]
    text = b""
    while len(text) < size:
        roll = rng.random()
        if roll < 0.03:
            text += bytes(rng.choices(range(256), k=rng.randrange(1, 6)))
        elif roll < 0.06:
            text += chr(rng.choice([rng.randrange(0x80, 0xD800), rng.randrange(0xE000, 0x110000)])).encode()
        elif roll < 0.08:
            text += rng.choice(words).encode()[:-1]   # cut in the middle of a character
        else:
            text += rng.choice(words).encode()
        text += rng.choice(gaps).encode()
    return text


# ---- the program ----

def tokenize(text, folder, *options):
    path = os.path.join(folder, "text")
    with open(path, "wb") as file:
        file.write(text)
    run = subprocess.run([TRAIN, "tokenize", path, "--out", folder, *options], capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"not ok - {run.args}: {run.returncode} {run.stderr}")
    with open(os.path.join(folder, "text.tokens"), "rb") as file:
        data = file.read()
    magic, version, width, vocabulary, tokenizer, count, checksum, zero = struct.unpack("<8sIIIIQII", data[:40])
    with open(os.path.join(folder, "tokenizer.json"), "rb") as file:
        document = file.read()
    assert (magic, version, width, zero) == (b"MSTRTOKS", 1, 2, 0), "the header"
    assert tokenizer == zlib.crc32(document) and checksum == zlib.crc32(data[40:]), "the checksums"
    return json.loads(document), vocabulary, list(struct.unpack(f"<{count}H", data[40:]))


def same(what, seed, want, got):
    if want != got:
        at = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), min(len(want), len(got)))
        raise SystemExit(f"not ok - seed {seed}: {what} differ at {at}: wanted {want[at:at + 5]}, got {got[at:at + 5]}")


def try_seed(seed, folder):
    rng = random.Random(seed)
    text, other = random_text(rng, 3000), random_text(rng, 1500)
    document, vocabulary, tokens = tokenize(text, folder, "--vocabulary", "420")
    ids, merges = learn(text, 420)
    letters = alphabet()
    spelled = [["".join(letters[b] for b in side) for side in merge] for merge in merges]
    same("merges", seed, spelled, document["model"]["merges"])
    assert vocabulary == len(ids) + 1 and document["added_tokens"][0]["id"] == len(ids)
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    same("tokens", seed, encode(text, ids, ranks, len(ids)), tokens)

    # Another text by the same tokenizer, with its merges written as older files have them, and in an order in which they weren't learned.
    rng.shuffle(merges)
    document["model"]["merges"] = [" ".join("".join(letters[b] for b in side) for side in merge) for merge in merges]
    path = os.path.join(folder, "shuffled.json")
    with open(path, "w") as file:
        json.dump(document, file)
    _, _, tokens = tokenize(other, folder, "--tokenizer", path)
    same("tokens of shuffled merges", seed, encode(other, ids, {merge: rank for rank, merge in enumerate(merges)}, len(ids)), tokens)
    spells = {number: text for text, number in ids.items()} | {len(ids): END.encode()}
    assert b"".join(spells[t] for t in tokens) == other, "the tokens spell the text"
    return len(merges)


if not os.access(TRAIN, os.X_OK):
    print(f"skipped: {TRAIN} is not built")
    sys.exit(77)
with tempfile.TemporaryDirectory(prefix="muster-tokenize-") as work:
    learned = [try_seed(seed, work) for seed in range(SEEDS)]
print(f"ok - {SEEDS} texts, {min(learned)} to {max(learned)} merges each")
