package org.rlhf4j.core.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.text.Template;
import org.rlhf4j.core.text.Tokenizer;

/** Real HH pairs, held to the ids that Hugging Face's tokenizer made of them. */
class HhDataTest {
  private static final RowEncoder.Options RAW =
      new RowEncoder.Options(Template.MODEL, 512, Overlong.DROP, false, true);

  @Test
  void pairsGetHuggingFacesIds() {
    try (Tokenizer tokenizer = Tokenizer.load(Shared.path("models/tinystories-260k"))) {
      RowEncoder encoder = new RowEncoder(tokenizer, 512, RAW);
      checkAgainst("train", 1600, 1137, encoder);
      checkAgainst("test", 300, 205, encoder);
    }
  }

  private static void checkAgainst(String split, int read, int kept, RowEncoder encoder) {
    Path ids = Shared.path("golden/hh-reward/" + split + ".jsonl.gz");
    EncodedDataset<TokenPair> pairs =
        EncodedDataset.loadPairs(
            List.of(Shared.path("data/hh/harmless-base-" + split + ".jsonl.gz")), encoder, 0);
    assertEquals(read, pairs.report().rowsRead());
    assertEquals(kept, pairs.size());
    assertEquals(read - kept, pairs.report().dropped().get(RowEncoder.TOO_LONG));
    assertEquals(0, pairs.report().prefixMismatchCount());

    EncodedDataset<TokenPair> golden =
        EncodedDataset.loadPairs(List.of(ids), new RowEncoder(null, 512, RAW), 0);
    assertTrue(golden.size() >= 205);
    for (int i = 0; i < golden.size(); i++) {
      assertArrayEquals(
          golden.rows().get(i).chosen().ids(), pairs.rows().get(i).chosen().ids(), split + " " + i);
      assertArrayEquals(
          golden.rows().get(i).rejected().ids(), pairs.rows().get(i).rejected().ids());
    }
  }

  @Test
  void rewrittenDialoguesKeepTheirAnswers() {
    try (Tokenizer tokenizer = Tokenizer.load(Shared.path("models/tinystories-260k"))) {
      RowEncoder.Options options =
          new RowEncoder.Options(Template.HH_HASH, 512, Overlong.DROP, false, true);
      EncodedDataset<TokenPair> pairs =
          EncodedDataset.loadPairs(
              List.of(Shared.path("data/hh/harmless-base-test.jsonl.gz")),
              new RowEncoder(tokenizer, 512, options),
              0);
      assertEquals(300, pairs.report().rowsRead());
      for (TokenPair pair : pairs.rows()) {
        String text = tokenizer.decode(pair.chosen().ids());
        assertTrue(text.startsWith("###Human: "), text);
        int answer = 0;
        while (!pair.chosen().targets()[answer]) {
          answer++;
        }
        int[] prompt = Arrays.copyOf(pair.chosen().ids(), answer);
        assertTrue(tokenizer.decode(prompt).endsWith("###Assistant:"), text);
      }
    }
  }
}
