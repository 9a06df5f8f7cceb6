package org.rlhf4j.core.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.rlhf4j.core.data.TokenPair;
import org.rlhf4j.core.data.TokenRow;

/**
 * Tokens as the decoder reads them: one flat list without padding, cut into segments. A segment
 * attends to itself, and to the segment that it continues, causally; to nothing else. So packed
 * documents never see each other, rows of different lengths cost only their own tokens, and several
 * answers to one prompt are segments that continue the prompt's.
 *
 * <p>Some positions are selected: those whose hidden state is read. For a language model these are
 * the positions before a target (the one shift of the code base), for a score the last token of a
 * row (the one last-token rule).
 */
public final class TokenBatch {
  /** Sharing a shorter prompt costs more calls than it saves tokens. */
  private static final int SHORTEST_SHARED_PROMPT = 8;

  private static final int NONE = -1;

  /**
   * Tokens that follow each other.
   *
   * @param firstPosition how many tokens of its row stand before it
   * @param isBlind whether its one token does not attend to itself
   */
  private record Segment(
      int start, int length, int continued, int firstPosition, int[] selected, boolean isBlind) {}

  private final List<Segment> segments = new ArrayList<>();
  private final IntList ids = new IntList();
  private final IntList positions = new IntList();
  private final IntList targets = new IntList();
  private final IntList rowOfSelected = new IntList();
  private int rows;
  private int longestRow;

  private TokenBatch() {}

  /**
   * Rows of a language model: every target's predecessor is selected, and {@link #targets} holds
   * the ids to predict.
   *
   * @param documents rows that do not see each other
   */
  public static TokenBatch ofTargets(List<TokenRow> documents) {
    TokenBatch batch = new TokenBatch();
    for (TokenRow document : documents) {
      IntList selected = new IntList();
      for (int t = 1; t < document.ids().length; t++) {
        if (document.targets()[t]) {
          selected.add(t - 1);
          batch.targets.add(document.ids()[t]);
        }
      }
      batch.append(document.ids(), 0, NONE, selected.toArray());
      batch.nameRows(selected.size());
    }
    return batch;
  }

  /** Whole rows of which the last token is selected. */
  public static TokenBatch ofLastTokens(List<int[]> rows) {
    TokenBatch batch = new TokenBatch();
    for (int[] row : rows) {
      batch.append(row, 0, NONE, new int[] {row.length - 1});
      batch.nameRows(1);
    }
    return batch;
  }

  /**
   * Both sides of preference pairs, the last tokens selected: chosen, rejected, chosen, … The
   * tokens that both sides begin with are computed once.
   *
   * @param sharePrompts false computes every row by itself, to the same numbers
   */
  public static TokenBatch ofPairs(List<TokenPair> pairs, boolean sharePrompts) {
    TokenBatch batch = new TokenBatch();
    for (TokenPair pair : pairs) {
      int[] chosen = pair.chosen().ids();
      int[] rejected = pair.rejected().ids();
      int common = Arrays.mismatch(chosen, rejected);
      common = Math.min(common, Math.min(chosen.length, rejected.length) - 1);
      int prompt = NONE;
      if (sharePrompts && common >= SHORTEST_SHARED_PROMPT) {
        prompt = batch.append(Arrays.copyOf(chosen, common), 0, NONE, new int[0]);
      } else {
        common = 0;
      }
      for (int[] row : List.of(chosen, rejected)) {
        batch.append(row, common, prompt, new int[] {row.length - common - 1});
        batch.nameRows(1);
      }
    }
    return batch;
  }

  /**
   * A row whose places do not follow from its tokens, as where padding that is not computed is
   * counted.
   *
   * @param ids read by the model
   * @param targets ids that the last of these predict, one each; at most as many
   * @param firstPlace of the first token
   * @param blind a token more that attends to all before it but not to itself, as padding does;
   *     null for none
   */
  public record PlacedRow(int[] ids, int[] targets, int firstPlace, Blind blind) {}

  /**
   * See {@link PlacedRow}.
   *
   * @param id of the token
   * @param target that it predicts
   * @param place of its own
   */
  public record Blind(int id, int target, int place) {}

  /** Rows of a language model at places of their own. */
  public static TokenBatch ofPlaced(List<PlacedRow> placed) {
    TokenBatch batch = new TokenBatch();
    for (PlacedRow row : placed) {
      int length = row.ids().length;
      int first = length - row.targets().length;
      int[] selected = new int[row.targets().length];
      Arrays.setAll(selected, i -> first + i);
      int segment = batch.append(row.ids(), 0, NONE, selected);
      for (int i = 0; i < length; i++) {
        batch.positions.set(batch.ids.size() - length + i, row.firstPlace() + i);
      }
      batch.longestRow = Math.max(batch.longestRow, row.firstPlace() + length);
      for (int target : row.targets()) {
        batch.targets.add(target);
      }
      if (row.blind() != null) {
        batch.segments.add(new Segment(batch.ids.size(), 1, segment, length, new int[] {0}, true));
        batch.ids.add(row.blind().id());
        batch.positions.add(row.blind().place());
        batch.longestRow = Math.max(batch.longestRow, row.blind().place() + 1);
        batch.targets.add(row.blind().target());
      }
      batch.nameRows(selected.length + (row.blind() == null ? 0 : 1));
    }
    return batch;
  }

  private int append(int[] row, int from, int continued, int[] selected) {
    segments.add(new Segment(ids.size(), row.length - from, continued, from, selected, false));
    for (int i = from; i < row.length; i++) {
      ids.add(row[i]);
      positions.add(i);
    }
    longestRow = Math.max(longestRow, row.length);
    return segments.size() - 1;
  }

  private void nameRows(int selected) {
    for (int i = 0; i < selected; i++) {
      rowOfSelected.add(rows);
    }
    rows++;
  }

  /** Token ids, {@code [tokens]}. */
  public int[] ids() {
    return ids.toArray();
  }

  /** The place of each token in its row, {@code [tokens]}. */
  public int[] positions() {
    return positions.toArray();
  }

  /** The id that each selected position predicts, {@code [selected]}; empty for score batches. */
  public int[] targets() {
    return targets.toArray();
  }

  /** Which row each selected position belongs to, {@code [selected]}. */
  public int[] rowOfSelected() {
    return rowOfSelected.toArray();
  }

  /** The number of tokens that are computed. */
  public int tokens() {
    return ids.size();
  }

  /** The flat indices of the selected positions, {@code [selected]}, ascending. */
  public int[] selected() {
    IntList flat = new IntList();
    for (Segment segment : segments) {
      for (int offset : segment.selected) {
        flat.add(segment.start + offset);
      }
    }
    return flat.toArray();
  }

  /** The length of the longest row; where rows have places of their own, up to the last place. */
  public int longestRow() {
    return longestRow;
  }

  /**
   * Neighbouring segments of one shape, which the attention kernel takes as one batched product.
   *
   * @param shape for each run: segments, length, queries of a segment, the run it continues or -1,
   *     and its number of blocks
   * @param blocks for each block of queries: their number, and how many keys they look at
   * @param places for each block the places of its queries among the keys
   */
  public record Runs(int[] shape, int[] blocks, List<int[]> places) {}

  /**
   * The runs of the batch.
   *
   * @param selectedOnly whether only the selected positions ask, as in the last block
   * @param blockSize the most queries of a block; long rows are cut into blocks that each skip the
   *     keys behind their last query
   */
  public Runs runs(boolean selectedOnly, int blockSize) {
    boolean[] isContinued = new boolean[segments.size()];
    for (Segment segment : segments) {
      if (segment.continued != NONE) {
        isContinued[segment.continued] = true;
      }
    }
    IntList shape = new IntList();
    IntList blocks = new IntList();
    List<int[]> places = new ArrayList<>();
    int[] runOf = new int[segments.size()];
    int runs = 0;
    for (int s = 0; s < segments.size(); ) {
      Segment first = segments.get(s);
      int end = s + 1;
      while (!isContinued[s]
          && end < segments.size()
          && !isContinued[end]
          && alike(first, segments.get(end), selectedOnly)) {
        end++;
      }
      int[] queries = selectedOnly ? first.selected : upTo(first.length);
      int count = (queries.length + blockSize - 1) / blockSize;
      shape.add(end - s);
      shape.add(first.length);
      shape.add(queries.length);
      shape.add(first.continued == NONE ? NONE : runOf[first.continued]);
      shape.add(count);
      for (int b = 0; b < count; b++) {
        // Blocks of equal size, so that no last block of a few queries is left over.
        int from = (int) ((long) queries.length * b / count);
        int to = (int) ((long) queries.length * (b + 1) / count);
        int[] asking = Arrays.copyOfRange(queries, from, to);
        for (int i = 0; i < asking.length; i++) {
          asking[i] += first.firstPosition - (first.isBlind ? 1 : 0);
        }
        blocks.add(asking.length);
        blocks.add(asking[asking.length - 1] + 1);
        places.add(asking);
      }
      Arrays.fill(runOf, s, end, runs++);
      s = end;
    }
    return new Runs(shape.toArray(), blocks.toArray(), places);
  }

  private static boolean alike(Segment a, Segment b, boolean selectedOnly) {
    return a.length == b.length
        && a.continued == b.continued
        && a.isBlind == b.isBlind
        && (!selectedOnly || Arrays.equals(a.selected, b.selected));
  }

  private static int[] upTo(int length) {
    int[] all = new int[length];
    for (int i = 0; i < length; i++) {
      all[i] = i;
    }
    return all;
  }

  private static final class IntList {
    private int[] values = new int[64];
    private int size;

    void add(int value) {
      if (size == values.length) {
        values = Arrays.copyOf(values, 2 * size);
      }
      values[size++] = value;
    }

    void set(int index, int value) {
      values[index] = value;
    }

    int size() {
      return size;
    }

    int[] toArray() {
      return Arrays.copyOf(values, size);
    }
  }
}
