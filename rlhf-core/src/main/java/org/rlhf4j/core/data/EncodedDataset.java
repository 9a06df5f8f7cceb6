package org.rlhf4j.core.data;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiConsumer;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.text.Tokenizer;

/**
 * A data set in memory, as token ids.
 *
 * @param <T> {@link TokenRow}, {@link TokenPair}, {@link ScoreRow} or {@link PromptRow}
 * @param rows the rows kept, in the files' order
 * @param origins for each kept row where it stands
 * @param report what became of all rows
 * @param decodedSample the first kept row as text, targets and other tokens apart; ids where there
 *     is no tokenizer
 * @param dataHash SHA-256 in hexadecimal over the files' unpacked contents and the kept rows' ids,
 *     targets and order
 */
public record EncodedDataset<T>(
    List<T> rows,
    List<RowOrigin> origins,
    DataReport report,
    List<Piece> decodedSample,
    String dataHash) {
  private static final int BAD_ROWS_SHOWN = 3;

  /** Text of which either all tokens are targets or none is. */
  public record Piece(String text, boolean target) {}

  /**
   * Reads rows for training or scoring a language model.
   *
   * @param paths the data files, in order
   * @param encoder how a row becomes ids
   * @param maxBadRows how many unusable rows are skipped (and reported) before it is an error
   * @throws RlhfException on too many bad rows, which names the first few by file and line, and on
   *     data of which nothing is left
   */
  public static EncodedDataset<TokenRow> loadRows(
      List<Path> paths, RowEncoder encoder, int maxBadRows) {
    return loadRows(paths, encoder, maxBadRows, () -> {});
  }

  /**
   * As {@link #loadRows(List, RowEncoder, int)}.
   *
   * @param between called every few hundred rows; what it throws ends the loading
   */
  public static EncodedDataset<TokenRow> loadRows(
      List<Path> paths, RowEncoder encoder, int maxBadRows, Runnable between) {
    return load(
        paths,
        encoder,
        new Way<>(maxBadRows, between, encoder::encodeRow),
        new Kind<>(EncodedDataset::update, row -> show(row, encoder.tokenizer())));
  }

  /** Reads pairs of answers; as {@link #loadRows}. */
  public static EncodedDataset<TokenPair> loadPairs(
      List<Path> paths, RowEncoder encoder, int maxBadRows) {
    return loadPairs(paths, encoder, maxBadRows, () -> {});
  }

  /** Reads pairs of answers; as {@link #loadRows(List, RowEncoder, int, Runnable)}. */
  public static EncodedDataset<TokenPair> loadPairs(
      List<Path> paths, RowEncoder encoder, int maxBadRows, Runnable between) {
    return load(
        paths,
        encoder,
        new Way<>(maxBadRows, between, encoder::encodePair),
        new Kind<>(
            (digest, pair) -> {
              update(digest, pair.chosen());
              update(digest, pair.rejected());
              digest.update(ByteBuffer.allocate(Double.BYTES).putDouble(0, pair.margin()));
            },
            pair -> {
              List<Piece> pieces = new ArrayList<>();
              pieces.add(new Piece("chosen: ", false));
              pieces.addAll(show(pair.chosen(), encoder.tokenizer()));
              pieces.add(new Piece("\nrejected: ", false));
              pieces.addAll(show(pair.rejected(), encoder.tokenizer()));
              return pieces;
            }));
  }

  /**
   * Reads rows of any form to score; as {@link #loadRows}.
   *
   * @param needsTargets whether every document needs a token to predict, as a language model does
   */
  public static EncodedDataset<ScoreRow> loadForScoring(
      List<Path> paths, RowEncoder encoder, int maxBadRows, boolean needsTargets) {
    return load(
        paths,
        encoder,
        new Way<>(maxBadRows, () -> {}, example -> encoder.encodeForScoring(example, needsTargets)),
        new Kind<>(
            (digest, row) -> row.sides().forEach(side -> update(digest, side)),
            row ->
                row.sides().stream()
                    .flatMap(side -> show(side, encoder.tokenizer()).stream())
                    .toList()));
  }

  /** Reads prompts; as {@link #loadRows}. */
  public static EncodedDataset<PromptRow> loadPrompts(
      List<Path> paths, RowEncoder encoder, int maxBadRows) {
    return loadPrompts(paths, encoder, maxBadRows, () -> {});
  }

  /** Reads prompts; as {@link #loadRows(List, RowEncoder, int, Runnable)}. */
  public static EncodedDataset<PromptRow> loadPrompts(
      List<Path> paths, RowEncoder encoder, int maxBadRows, Runnable between) {
    return load(
        paths,
        encoder,
        new Way<>(maxBadRows, between, encoder::encodePrompt),
        new Kind<>(
            (digest, prompt) -> updateInts(digest, prompt.ids()),
            prompt ->
                List.of(
                    new Piece(
                        encoder.tokenizer() == null ? Arrays.toString(prompt.ids()) : prompt.text(),
                        false))));
  }

  /** The number of rows kept. */
  public int size() {
    return rows.size();
  }

  /** What differs between kinds of rows: how one enters the hash, and how one is shown. */
  private record Kind<T>(BiConsumer<MessageDigest, T> hash, Function<T, List<Piece>> show) {}

  /** How rows are loaded. */
  private record Way<T>(int maxBadRows, Runnable between, Function<Example, Encoded<T>> encode) {}

  private static <T> EncodedDataset<T> load(
      List<Path> paths, RowEncoder encoder, Way<T> way, Kind<T> kind) {
    int maxBadRows = way.maxBadRows();
    Collector<T> collector = new Collector<>(way);
    MessageDigest digest = sha256();
    Map<Path, Integer> rowsByFile = new LinkedHashMap<>();
    paths.forEach(path -> rowsByFile.put(path, 0));
    int read =
        RowReader.read(
            paths,
            example -> {
              rowsByFile.merge(example.origin().file(), 1, Integer::sum);
              collector.add(example);
            },
            bad -> {
              rowsByFile.merge(bad.origin().file(), 1, Integer::sum);
              collector.addBad(bad);
            },
            digest);
    collector.encodeWaiting();
    collector.badRows.sort(Comparator.comparingInt(row -> row.origin().index()));
    String names = paths.stream().map(Path::toString).collect(Collectors.joining(", "));
    if (read == 0) {
      throw RlhfException.input(names + ": holds no rows");
    }
    if (collector.badRows.size() > maxBadRows) {
      throw RlhfException.input(
          "%s of %s rows are unusable, max_bad_rows is %s: %s"
              .formatted(
                  collector.badRows.size(),
                  read,
                  maxBadRows,
                  collector.badRows.stream()
                      .limit(BAD_ROWS_SHOWN)
                      .map(BadRow::toString)
                      .collect(Collectors.joining("; "))));
    }
    DataReport report = collector.report(rowsByFile, encoder.options().maxLength());
    if (collector.rows.isEmpty()) {
      throw RlhfException.input(
          "%s: none of the %s rows can be used: %s"
              .formatted(
                  names,
                  read,
                  report.dropped().entrySet().stream()
                      .map(reason -> reason.getValue() + " × " + reason.getKey())
                      .collect(Collectors.joining(", "))));
    }
    for (int i = 0; i < collector.rows.size(); i++) {
      digest.update(ByteBuffer.allocate(Integer.BYTES).putInt(0, collector.origins.get(i).index()));
      kind.hash().accept(digest, collector.rows.get(i));
    }
    return new EncodedDataset<>(
        List.copyOf(collector.rows),
        List.copyOf(collector.origins),
        report,
        kind.show().apply(collector.rows.get(0)),
        HexFormat.of().formatHex(digest.digest()));
  }

  /** A row's encoding, or why it stops everything. */
  private record Attempt<T>(Encoded<T> encoded, RlhfException failure) {}

  private static final class Collector<T> {
    /** Rows are encoded this many at a time, on all cores; their order stays. */
    private static final int CHUNK = 256;

    private final Way<T> way;
    private final List<Example> waiting = new ArrayList<>();
    private final List<T> rows = new ArrayList<>();
    private final List<RowOrigin> origins = new ArrayList<>();
    private final List<Integer> lengths = new ArrayList<>();
    private final Map<String, Integer> dropped = new TreeMap<>();
    private final List<BadRow> badRows = new ArrayList<>();
    private final List<RowOrigin> mismatches = new ArrayList<>();
    private int truncated;

    Collector(Way<T> way) {
      this.way = way;
    }

    void add(Example example) {
      waiting.add(example);
      if (waiting.size() == CHUNK) {
        encodeWaiting();
      }
    }

    void encodeWaiting() {
      way.between().run();
      List<Attempt<T>> attempts = waiting.parallelStream().map(this::attempt).toList();
      for (int i = 0; i < attempts.size(); i++) {
        if (attempts.get(i).failure() != null) {
          throw attempts.get(i).failure();
        }
        count(waiting.get(i), attempts.get(i).encoded());
      }
      waiting.clear();
    }

    /** Keeps a failure for later, so that the first failing row is the one that is named. */
    private Attempt<T> attempt(Example example) {
      try {
        return new Attempt<>(way.encode().apply(example), null);
      } catch (RlhfException e) {
        return new Attempt<>(null, e);
      }
    }

    private void count(Example example, Encoded<T> encoded) {
      if (encoded instanceof Encoded.Bad<T> bad) {
        addBad(new BadRow(example.origin(), bad.reason()));
        return;
      }
      lengths.add(encoded.length());
      if (encoded instanceof Encoded.Dropped<T> out) {
        dropped.merge(out.reason(), 1, Integer::sum);
      } else if (encoded instanceof Encoded.Kept<T> kept) {
        rows.add(kept.value());
        origins.add(example.origin());
        truncated += kept.truncated() ? 1 : 0;
        if (kept.prefixMismatch()) {
          mismatches.add(example.origin());
        }
      }
    }

    void addBad(BadRow row) {
      badRows.add(row);
      dropped.merge("bad row", 1, Integer::sum);
    }

    DataReport report(Map<Path, Integer> rowsByFile, int maxLength) {
      int[] sorted = lengths.stream().mapToInt(Integer::intValue).sorted().toArray();
      return new DataReport(
          rowsByFile,
          rows.size(),
          dropped,
          badRows,
          truncated,
          mismatches,
          quantile(sorted, 0.5),
          quantile(sorted, 0.95),
          quantile(sorted, 1.0),
          maxLength);
    }
  }

  /** The smallest value that at least this share of the values does not exceed. */
  private static int quantile(int[] sorted, double share) {
    return sorted.length == 0 ? 0 : sorted[Math.max(0, (int) Math.ceil(share * sorted.length) - 1)];
  }

  private static void update(MessageDigest digest, TokenRow row) {
    updateInts(digest, row.ids());
    for (boolean target : row.targets()) {
      digest.update((byte) (target ? 1 : 0));
    }
  }

  private static void updateInts(MessageDigest digest, int[] values) {
    ByteBuffer bytes = ByteBuffer.allocate(Integer.BYTES * (values.length + 1));
    bytes.putInt(values.length);
    for (int value : values) {
      bytes.putInt(value);
    }
    digest.update(bytes.flip());
  }

  private static List<Piece> show(TokenRow row, Tokenizer tokenizer) {
    List<Piece> shown = new ArrayList<>();
    int from = 0;
    while (from < row.length()) {
      boolean target = row.targets()[from];
      int to = from;
      while (to < row.length() && row.targets()[to] == target) {
        to++;
      }
      shown.add(new Piece(showRun(row.ids(), from, to, tokenizer), target));
      from = to;
    }
    return shown;
  }

  private static String showRun(int[] ids, int from, int to, Tokenizer tokenizer) {
    if (tokenizer == null) {
      return Arrays.toString(Arrays.copyOfRange(ids, from, to));
    }
    // Decoded behind what stands before it: some decoders strip a space at the start of a text.
    String before = tokenizer.decodeAll(Arrays.copyOf(ids, from));
    String whole = tokenizer.decodeAll(Arrays.copyOf(ids, to));
    return whole.startsWith(before)
        ? whole.substring(before.length())
        : tokenizer.decodeAll(Arrays.copyOfRange(ids, from, to));
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }
}
