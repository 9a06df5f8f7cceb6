package org.rlhf4j.reward;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.data.TokenPair;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.model.Gradients;
import org.rlhf4j.core.model.ModelLoader;
import org.rlhf4j.core.model.RewardModel;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.train.Compute;
import org.rlhf4j.core.train.RunContext;

/**
 * LMFlow's own numbers. Where its pad token is the end token, it reads a score one token before the
 * end; that is the score of the row without its end token.
 */
class LmflowRewardTest {
  private static final JsonMapper JSON = new JsonMapper();

  @TempDir Path temporary;

  @ParameterizedTest
  @CsvSource({"pad,0,3,1", "pad,0,1,3", "pad_is_eos,1,3,1"})
  void lossScoresAndGradientNormAreLmflows(String name, int cut, int batchSize, int accumulation)
      throws IOException {
    JsonNode expected = expected().path(name);
    List<String> lines = new ArrayList<>();
    for (TokenPair pair : pairs(cut)) {
      lines.add(
          "{\"chosen_input_ids\": %s, \"rejected_input_ids\": %s}"
              .formatted(
                  Arrays.toString(pair.chosen().ids()), Arrays.toString(pair.rejected().ids())));
    }
    RewardConfig config =
        Config.of(RewardConfig.class)
            .set("model_name_or_path", model().toString())
            .set("dataset_path", Files.write(temporary.resolve("pairs.jsonl"), lines).toString())
            .set("output_dir", temporary.resolve("out").toString())
            .set("dtype", "fp32")
            .set("per_device_train_batch_size", batchSize)
            .set("gradient_accumulation_steps", accumulation)
            .set("max_steps", 1)
            .set("logging_steps", 1)
            .build();
    Map<String, Object> row = new RewardTrainer(config, RunContext.silent()).train().get(0);

    double[] chosen = scores(expected.path("rewards_chosen"));
    double[] rejected = scores(expected.path("rewards_rejected"));
    near(expected.path("loss").asDouble(), row, MetricNames.LOSS, 1e-5);
    near(expected.path("grad_norm").asDouble(), row, MetricNames.GRAD_NORM, 1e-4);
    double sumChosen = Arrays.stream(chosen).sum();
    double sumRejected = Arrays.stream(rejected).sum();
    near((sumChosen - sumRejected) / 3, row, MetricNames.MARGIN, 1e-5);
    near((sumChosen + sumRejected) / 6, row, MetricNames.MEAN_REWARD, 1e-5);
    near(1 / 3.0, row, MetricNames.ACCURACY, 1e-12);
  }

  @Test
  void everyGradientNormIsLmflows() throws IOException {
    for (String name : List.of("pad", "pad_is_eos")) {
      List<TokenPair> pairs = pairs(name.equals("pad") ? 0 : 1);
      JsonNode norms = expected().path(name).path("grad_norms");
      try (Compute compute = Compute.open("cpu", DtypeChoice.FP32);
          RewardModel model = load(compute);
          TensorScope scope = compute.torch().scope()) {
        Gradients gradients = new Gradients(compute.torch().ops(), scope, model.weights());
        model.addGradients(
            TokenBatch.ofPairs(pairs, true),
            given -> {
              PairScores scores = PairScores.ofAlternating(given);
              PairLoss.Result result =
                  RewardLoss.meanOverPairs(0)
                      .of(scores.chosen(), scores.rejected(), new double[3], 3);
              float[] derivative = new float[6];
              for (int i = 0; i < 3; i++) {
                derivative[2 * i] = result.ofChosen()[i];
                derivative[2 * i + 1] = result.ofRejected()[i];
              }
              return derivative;
            },
            Recording.FULL,
            gradients);
        float[] found = compute.torch().ops().norms(scope, gradients.all());
        for (int i = 0; i < found.length; i++) {
          String parameter = model.weights().parameters().get(i).name();
          double norm = norms.path(parameter).asDouble(Double.NaN);
          assertEquals(norm, found[i], 1e-4 * norm + 1e-6, name + " " + parameter);
        }
      }
    }
  }

  @Test
  void scoresOfAllPrefixesAreLmflows() throws IOException {
    SafetensorsFile tensors = SafetensorsFile.open(folder().resolve("tensors.safetensors"));
    float[] dense = tensors.readFloats("pad_is_eos.dense_scores");
    try (Compute compute = Compute.open("cpu", DtypeChoice.FP32);
        RewardModel model = load(compute)) {
      List<int[]> prefixes = new ArrayList<>();
      List<Float> truth = new ArrayList<>();
      List<int[]> rows = rows(0);
      for (int row = 0; row < rows.size(); row++) {
        for (int t = 0; t < rows.get(row).length; t++) {
          prefixes.add(Arrays.copyOf(rows.get(row), t + 1));
          truth.add(dense[row * dense.length / rows.size() + t]);
        }
      }
      float[] found = model.scores(TokenBatch.ofLastTokens(prefixes));
      for (int i = 0; i < found.length; i++) {
        double expected = truth.get(i);
        assertEquals(expected, found[i], 1e-5 * Math.abs(expected) + 1e-6, "prefix " + i);
      }
    }
  }

  private static void near(
      double expected, Map<String, Object> row, String name, double tolerance) {
    double found = ((Number) row.get(name)).doubleValue();
    assertEquals(expected, found, tolerance * Math.max(1, Math.abs(expected)), name);
  }

  private static double[] scores(JsonNode column) {
    double[] scores = new double[column.size()];
    for (int i = 0; i < scores.length; i++) {
      scores[i] = column.get(i).get(0).asDouble();
    }
    return scores;
  }

  private static RewardModel load(Compute compute) {
    return ModelLoader.rewardModel(
        compute.torch(),
        ModelFolder.open(model()),
        new ModelLoader.Options(ElementType.FP32, true),
        0);
  }

  private static Path folder() {
    return Shared.path("golden/algorithms/lmflow_rm");
  }

  private static Path model() {
    return folder().resolve("model");
  }

  private static JsonNode expected() throws IOException {
    return JSON.readTree(folder().resolve("expected.json").toFile());
  }

  /** Chosen and rejected rows alternate. */
  private static List<TokenPair> pairs(int cut) {
    List<int[]> rows = rows(cut);
    List<TokenPair> pairs = new ArrayList<>();
    for (int i = 0; i < rows.size(); i += 2) {
      pairs.add(
          new TokenPair(TokenRow.allTargets(rows.get(i)), TokenRow.allTargets(rows.get(i + 1)), 0));
    }
    return pairs;
  }

  /** The rows without padding, and without so many tokens at the end. */
  private static List<int[]> rows(int cut) {
    SafetensorsFile tensors = SafetensorsFile.open(folder().resolve("tensors.safetensors"));
    long[] ids = tensors.readLongs("pad.input_ids");
    long[] mask = tensors.readLongs("pad.attention_mask");
    int count = 6;
    int width = ids.length / count;
    List<int[]> rows = new ArrayList<>();
    for (int row = 0; row < count; row++) {
      int length = (int) Arrays.stream(mask, row * width, (row + 1) * width).sum();
      rows.add(
          Arrays.stream(ids, row * width, row * width + length - cut)
              .mapToInt(Math::toIntExact)
              .toArray());
    }
    return rows;
  }
}
