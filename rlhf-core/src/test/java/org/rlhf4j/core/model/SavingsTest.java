package org.rlhf4j.core.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.data.TokenPair;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/** Every saving can be left out without changing the numbers. */
class SavingsTest {
  @TempDir Path temporary;
  private Torch torch;
  private CausalLm model;

  @BeforeEach
  void open() throws IOException {
    torch = Torch.open("cpu");
    model =
        ModelLoader.causalLm(
            torch,
            ModelFolder.open(TinyModel.causalLm(temporary.resolve("lm"), 1)),
            new ModelLoader.Options(ElementType.FP32, true));
  }

  @AfterEach
  void close() {
    model.close();
    torch.close();
  }

  private int[] row(Random random, int length) {
    int vocabulary = model.decoder().spec().vocabularySize();
    return random.ints(length, 0, vocabulary).toArray();
  }

  private float[] logProbs(List<TokenRow> documents) {
    return model.logProbs(TokenBatch.ofTargets(documents), false).logProbs();
  }

  @Test
  void documentsOfABatchDoNotSeeEachOther() {
    Random random = new Random(1);
    List<TokenRow> documents = new ArrayList<>();
    float[] alone = new float[0];
    for (int length : new int[] {7, 7, 19, 2, 40}) {
      TokenRow document = TokenRow.allTargets(row(random, length));
      documents.add(document);
      float[] one = logProbs(List.of(document));
      int before = alone.length;
      alone = Arrays.copyOf(alone, before + one.length);
      System.arraycopy(one, 0, alone, before, one.length);
    }
    assertArrayEquals(alone, logProbs(documents), 1e-5f);
  }

  /** The tables of angles are made when a model first meets rows of their length. */
  @Test
  void tablesOfAnglesGrowUnderThreadsThatReadThem() throws IOException {
    Path config = TinyModel.causalLm(temporary.resolve("long"), 1).resolve("config.json");
    String text = Files.readString(config);
    Files.writeString(config, text.replaceFirst("(\"max_position_embeddings\"): \\d+", "$1: 1024"));
    ModelFolder folder = ModelFolder.open(config.getParent());
    Random random = new Random(6);
    List<TokenRow> documents = new ArrayList<>();
    for (int length : new int[] {9, 9, 9, 9, 300, 300, 300, 300, 600, 600, 600, 600}) {
      documents.add(TokenRow.allTargets(row(random, length)));
    }
    ModelLoader.Options options = new ModelLoader.Options(ElementType.FP32, false);
    List<float[]> expected = new ArrayList<>();
    try (CausalLm alone = ModelLoader.causalLm(torch, folder, options)) {
      for (TokenRow one : documents) {
        expected.add(alone.logProbs(TokenBatch.ofTargets(List.of(one)), false).logProbs());
      }
    }
    int before = torch.threads();
    torch.setThreads(4);
    try {
      for (int trial = 0; trial < 30; trial++) {
        try (CausalLm fresh = ModelLoader.causalLm(torch, folder, options)) {
          List<float[]> found =
              torch.sideBySide(
                  documents,
                  1000,
                  some ->
                      some.stream()
                          .map(one -> fresh.logProbs(TokenBatch.ofTargets(List.of(one)), false))
                          .map(LmHead.Found::logProbs)
                          .toList());
          for (int i = 0; i < documents.size(); i++) {
            assertArrayEquals(expected.get(i), found.get(i), 1e-5f);
          }
        }
      }
    } finally {
      torch.setThreads(before);
    }
  }

  @Test
  void earlierTokensDoNotSeeLaterOnes() {
    int[] ids = row(new Random(2), 30);
    int[] changed = ids.clone();
    changed[29] = (changed[29] + 1) % model.decoder().spec().vocabularySize();
    float[] before = logProbs(List.of(TokenRow.allTargets(ids)));
    float[] after = logProbs(List.of(TokenRow.allTargets(changed)));
    assertArrayEquals(Arrays.copyOf(before, 28), Arrays.copyOf(after, 28), 0f);
    assertTrue(before[28] != after[28]);
  }

  @Test
  void lastBlockOfSelectedPositionsIsThatOfAllPositions() {
    int[] ids = row(new Random(3), 25);
    boolean[] targets = new boolean[25];
    targets[4] = true;
    targets[24] = true;
    try (TensorScope scope = torch.scope()) {
      TokenBatch batch = TokenBatch.ofTargets(List.of(new TokenRow(ids, targets)));
      float[] selected = model.decoder().forward(scope, batch, Recording.NONE).hidden().toFloats();
      List<Tensor> states = model.decoder().hiddenStates(scope, batch);
      float[] all = states.get(states.size() - 1).toFloats();
      int width = model.decoder().spec().hiddenSize();
      assertArrayEquals(
          Arrays.copyOfRange(all, 3 * width, 4 * width),
          Arrays.copyOfRange(selected, 0, width),
          1e-5f);
      assertArrayEquals(
          Arrays.copyOfRange(all, 23 * width, 24 * width),
          Arrays.copyOfRange(selected, width, 2 * width),
          1e-5f);
    }
  }

  @Test
  void blocksOfQueriesAreTheWholeRow() {
    List<TokenRow> documents =
        List.of(
            TokenRow.allTargets(row(new Random(4), 33)),
            TokenRow.targetsFrom(row(new Random(5), 50), 20));
    TokenBatch batch = TokenBatch.ofTargets(documents);
    try (TensorScope scope = torch.scope();
        Decoder whole =
            new Decoder(
                torch, model.decoder().spec(), new WeightPlaces(model.weights(), null), 1000);
        Decoder cut =
            new Decoder(
                torch, model.decoder().spec(), new WeightPlaces(model.weights(), null), 7)) {
      Decoder.Pass expected = whole.forward(scope, batch, Recording.FULL);
      Decoder.Pass found = cut.forward(scope, batch, Recording.FULL);
      assertArrayEquals(expected.hidden().toFloats(), found.hidden().toFloats(), 1e-5f);
      Gradients wholeGradients = new Gradients(torch.ops(), scope, model.weights());
      Gradients cutGradients = new Gradients(torch.ops(), scope, model.weights());
      whole.backward(scope, expected, expected.hidden(), wholeGradients);
      cut.backward(scope, found, expected.hidden(), cutGradients);
      assertSame(wholeGradients, cutGradients);
    }
  }

  @Test
  void chunksOfTheVocabularyMatrixAreTheWholeMatrix() {
    TokenBatch batch = TokenBatch.ofTargets(List.of(TokenRow.allTargets(row(new Random(6), 20))));
    try (TensorScope scope = torch.scope();
        LmHead small =
            new LmHead(
                torch, model.decoder().spec().head(), new WeightPlaces(model.weights(), null), 3);
        LmHead large =
            new LmHead(
                torch,
                model.decoder().spec().head(),
                new WeightPlaces(model.weights(), null),
                1000)) {
      Tensor hidden = model.decoder().forward(scope, batch, Recording.NONE).hidden();
      float[] d = new float[batch.targets().length];
      for (int i = 0; i < d.length; i++) {
        d[i] = 0.1f * i - 0.7f;
      }
      LmHead.Selected rows = new LmHead.Selected(hidden, batch.targets());
      Gradients ofSmall = new Gradients(torch.ops(), scope, model.weights());
      Gradients ofLarge = new Gradients(torch.ops(), scope, model.weights());
      LmHead.WithGradient cut =
          small.logProbsWithGradient(
              scope, rows, new LmHead.OfTargets(d), ofSmall, LmHead.Reading.plain(true));
      LmHead.WithGradient whole =
          large.logProbsWithGradient(
              scope, rows, new LmHead.OfTargets(d), ofLarge, LmHead.Reading.plain(false));
      assertArrayEquals(whole.found().logProbs(), cut.found().logProbs(), 1e-5f);
      assertArrayEquals(whole.ofHidden().toFloats(), cut.ofHidden().toFloats(), 1e-5f);
      assertSame(ofLarge, ofSmall);
      LmHead.Found plain =
          small.logProbs(scope, hidden, batch.targets(), LmHead.Reading.plain(true));
      assertArrayEquals(plain.entropies(), cut.found().entropies(), 1e-5f);
      assertArrayEquals(plain.correct(), cut.found().correct(), 0f);
      assertArrayEquals(plain.logProbs(), cut.found().logProbs(), 1e-6f);
    }
  }

  @Test
  void sharedPromptsAreTheWholeRows() throws IOException {
    Random random = new Random(7);
    List<TokenPair> pairs = new ArrayList<>();
    for (int[] lengths : new int[][] {{12, 5, 9}, {30, 1, 1}, {20, 8, 8}, {3, 4, 2}}) {
      int[] prompt = row(random, lengths[0]);
      pairs.add(
          new TokenPair(
              answered(random, prompt, lengths[1]), answered(random, prompt, lengths[2]), 0));
    }
    int[] beginning = row(random, 15);
    pairs.add(new TokenPair(TokenRow.allTargets(beginning), answered(random, beginning, 6), 0));
    Path folder = TinyModel.rewardModel(temporary.resolve("reward"), 2);
    try (RewardModel reward =
            ModelLoader.rewardModel(
                torch,
                ModelFolder.open(folder),
                new ModelLoader.Options(ElementType.FP32, true),
                0);
        TensorScope scope = torch.scope()) {
      TokenBatch apart = TokenBatch.ofPairs(pairs, false);
      TokenBatch shared = TokenBatch.ofPairs(pairs, true);
      assertTrue(shared.tokens() < apart.tokens());
      Gradients ofApart = new Gradients(torch.ops(), scope, reward.weights());
      Gradients ofShared = new Gradients(torch.ops(), scope, reward.weights());
      float[] scores = reward.addGradients(apart, SavingsTest::slopes, Recording.FULL, ofApart);
      float[] again =
          reward.addGradients(shared, SavingsTest::slopes, Recording.PER_BLOCK, ofShared);
      assertArrayEquals(scores, again, 1e-5f);
      assertSame(ofApart, ofShared);
    }
  }

  private TokenRow answered(Random random, int[] prompt, int length) {
    int[] ids = Arrays.copyOf(prompt, prompt.length + length);
    System.arraycopy(row(random, length), 0, ids, prompt.length, length);
    return TokenRow.allTargets(ids);
  }

  @Test
  void answersOfAGroupAreTheWholeRows() {
    Random random = new Random(8);
    List<List<TokenRow>> groups = new ArrayList<>();
    int computed = 0;
    for (int[] lengths :
        new int[][] {{12, 5, 9, 5, 1}, {30, 2, 2}, {9, 7}, {3, 4, 2, 8}, {40, 6}}) {
      int[] prompt = row(random, lengths[0]);
      List<TokenRow> group = new ArrayList<>();
      for (int i = 1; i < lengths.length; i++) {
        int[] ids = answered(random, prompt, lengths[i]).ids();
        group.add(TokenRow.targetsFrom(ids, prompt.length));
        computed += lengths[i];
      }
      groups.add(group);
    }
    // Each prompt once, its last token with every answer; the one of 3 tokens is not worth it.
    computed += (11 + 4) + (29 + 2) + 9 + 3 * 3 + 40;
    TokenBatch apart = TokenBatch.ofTargets(groups.stream().flatMap(List::stream).toList());
    TokenBatch shared = TokenBatch.ofGroups(groups);
    assertEquals(computed, shared.tokens());
    assertArrayEquals(apart.targets(), shared.targets());
    assertArrayEquals(apart.rowOfSelected(), shared.rowOfSelected());
    for (Recording recording : List.of(Recording.FULL, Recording.PER_BLOCK)) {
      try (TensorScope scope = torch.scope()) {
        Gradients ofApart = new Gradients(torch.ops(), scope, model.trained());
        Gradients ofShared = new Gradients(torch.ops(), scope, model.trained());
        LmHead.Found found =
            model.addGradients(apart, SavingsTest::slopes, recording, ofApart, true);
        LmHead.Found again =
            model.addGradients(shared, SavingsTest::slopes, recording, ofShared, true);
        assertArrayEquals(found.logProbs(), again.logProbs(), 1e-5f);
        assertArrayEquals(found.entropies(), again.entropies(), 1e-5f);
        assertSame(ofApart, ofShared);
      }
    }
  }

  private static float[] slopes(float[] scores) {
    float[] slopes = new float[scores.length];
    for (int i = 0; i < slopes.length; i++) {
      slopes[i] = i % 3 - 0.8f;
    }
    return slopes;
  }

  private static void assertSame(Gradients expected, Gradients found) {
    List<Tensor> all = expected.all();
    for (int i = 0; i < all.size(); i++) {
      float[] wanted = all.get(i).toFloats();
      float scale = 1e-6f;
      for (float value : wanted) {
        scale = Math.max(scale, Math.abs(value));
      }
      float[] got = found.all().get(i).toFloats();
      assertEquals(wanted.length, got.length);
      assertArrayEquals(wanted, got, 1e-4f * scale, "gradient " + i);
    }
  }
}
