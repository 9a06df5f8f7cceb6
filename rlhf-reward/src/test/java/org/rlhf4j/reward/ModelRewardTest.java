package org.rlhf4j.reward;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.RewardModel;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.testing.TestTokenizers;
import org.rlhf4j.core.testing.TinyModel;
import org.rlhf4j.core.train.Compute;
import org.rlhf4j.core.train.RewardFunction.Completion;

class ModelRewardTest {
  @TempDir Path temporary;
  private Path folder;

  @BeforeEach
  void model() throws IOException {
    folder = TinyModel.rewardModel(temporary.resolve("reward"), 3);
  }

  private static Completion completion(int index, String prompt, String text, int... ids) {
    return new Completion(index, 1, prompt, text, new int[] {256, 81}, ids);
  }

  /** BOS and the bytes of a text, as the tests' tokenizer has it. */
  private static int[] bytes(String text) {
    byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
    return IntStream.concat(
            IntStream.of(TestTokenizers.BOS),
            IntStream.range(0, utf8.length).map(i -> utf8[i] & 255))
        .toArray();
  }

  private static int[] withEos(int[] ids) {
    int[] longer = Arrays.copyOf(ids, ids.length + 1);
    longer[ids.length] = TestTokenizers.EOS;
    return longer;
  }

  /** The scores of rows of ids, one by one. */
  private double[] alone(List<int[]> rows) {
    try (Compute compute = Compute.open("cpu", DtypeChoice.FP32);
        RewardModel model =
            ModelLoader.rewardModel(
                compute.torch(),
                ModelFolder.open(folder),
                new ModelLoader.Options(compute.type(), false),
                0)) {
      return rows.stream()
          .mapToDouble(row -> model.scores(TokenBatch.ofLastTokens(List.of(row)))[0])
          .toArray();
    }
  }

  private double[] rewards(List<Completion> completions, int batchSize) {
    try (Compute compute = Compute.open("cpu", DtypeChoice.FP32);
        ModelReward reward = ModelReward.open(compute.torch(), folder, compute.type(), batchSize)) {
      return reward.rewards(completions);
    }
  }

  @Test
  void theTextOfPromptAndResponseIsScoredInAnyBatch() {
    List<Completion> completions = new ArrayList<>();
    List<int[]> rows = new ArrayList<>();
    for (int i = 0; i < 7; i++) {
      String text = " été " + "x".repeat(i * 5 % 7) + "</s>";
      // The ids that were sampled do not matter to a model with its own tokenizer.
      completions.add(completion(i, "Q: " + i, text, 1, 2, 3));
      rows.add(bytes("Q: " + i + text));
    }
    double[] expected = alone(rows);
    assertArrayEquals(expected, rewards(completions, 3), 1e-5);
    assertArrayEquals(expected, rewards(completions, 64), 1e-5);
    assertTrue(Arrays.stream(expected).distinct().count() == 7);
  }

  @Test
  void theFoldersOwnSettingsCount() throws IOException {
    String prompt = "\n\nHuman: hi\n\nAssistant:";
    List<Completion> completions = List.of(completion(0, prompt, " yes "));
    assertArrayEquals(alone(List.of(bytes(prompt + " yes "))), rewards(completions, 4), 1e-6);
    Files.writeString(folder.resolve("config.yaml"), "append_eos: true\ntemplate: model\n");
    assertArrayEquals(
        alone(List.of(withEos(bytes(prompt + " yes ")))), rewards(completions, 4), 1e-6);
    Files.writeString(folder.resolve("config.yaml"), "append_eos: false\ntemplate: hh-hash\n");
    assertArrayEquals(
        alone(List.of(bytes("###Human: hi###Assistant: yes"))), rewards(completions, 4), 1e-6);
    // A text that is no dialogue has nothing to rewrite.
    assertArrayEquals(
        alone(List.of(bytes("a b"))), rewards(List.of(completion(0, "a", " b")), 4), 1e-6);
    Files.writeString(folder.resolve("config.yaml"), "append_eos: [\n");
    refused(completions, "config.yaml: cannot be read");
  }

  @Test
  void withoutATokenizerTheIdsAreScored() throws IOException {
    Files.delete(folder.resolve("tokenizer.json"));
    List<Completion> completions = List.of(completion(0, "", "", 5, 6, 257));
    assertArrayEquals(
        alone(List.of(new int[] {256, 81, 5, 6, 257})), rewards(completions, 4), 1e-6);
    refused(
        List.of(completion(8, "", "", 5, 300)),
        "prompt 8, response 1 cannot be scored by " + folder + ": token id 300 at position 3");
  }

  @Test
  void aTextBeyondTheContextIsNamed() {
    refused(
        List.of(completion(0, "a", "b"), completion(6, "x".repeat(120), "y".repeat(20))),
        "prompt 6, response 1 has 141 tokens for the reward model "
            + folder
            + ", whose context (max_position_embeddings) is 128");
  }

  private void refused(List<Completion> completions, String message) {
    RlhfException found = assertThrows(RlhfException.class, () -> rewards(completions, 4));
    assertEquals(ExitCode.INPUT, found.exitCode());
    assertTrue(found.getMessage().contains(message), found.getMessage());
  }
}
