package org.rlhf4j.reward;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.rlhf4j.core.testing.TrainingTrace.near;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.testing.TrainingTrace;
import org.rlhf4j.core.train.RunContext;

/** Repeats Hugging Face's training step by step, through the trainer and its files. */
class RewardTraceTest {
  private static final JsonMapper JSON = new JsonMapper();

  @TempDir Path temporary;

  @ParameterizedTest
  @CsvSource({"4,1,false", "2,2,false", "1,4,true"})
  void lossesScoresNormsRatesAndWeightsAreHuggingFaces(
      int batchSize, int accumulation, boolean checkpointing) throws IOException {
    TrainingTrace trace = TrainingTrace.read(Shared.path("golden/models/llama-reward"), "reward");
    assertEquals(trace.options().path("pairs").asInt(), batchSize * accumulation);
    Path output = temporary.resolve("out");
    RewardConfig config =
        trace
            .configure(Config.of(RewardConfig.class), pairs(trace.tensors()), output)
            .set("gradient_accumulation_steps", accumulation)
            .set("per_device_train_batch_size", batchSize)
            .set("activation_checkpointing", checkpointing)
            .build();

    List<Map<String, Object>> metrics = new RewardTrainer(config, RunContext.silent()).train();

    trace.assertSteps(metrics);
    for (int s = 0; s < metrics.size(); s++) {
      JsonNode expected = trace.steps().get(s);
      Map<String, Object> found = metrics.get(s);
      near(expected.path("accuracy").asDouble(), found, MetricNames.ACCURACY, 0);
      double[] chosen = JSON.convertValue(expected.path("chosen_rewards"), double[].class);
      double[] rejected = JSON.convertValue(expected.path("rejected_rewards"), double[].class);
      double sumChosen = Arrays.stream(chosen).sum();
      double sumRejected = Arrays.stream(rejected).sum();
      near((sumChosen - sumRejected) / chosen.length, found, MetricNames.MARGIN, 5e-5);
      near((sumChosen + sumRejected) / (2 * chosen.length), found, MetricNames.MEAN_REWARD, 5e-5);
      double least =
          Math.min(
              Arrays.stream(chosen).min().getAsDouble(),
              Arrays.stream(rejected).min().getAsDouble());
      double most =
          Math.max(
              Arrays.stream(chosen).max().getAsDouble(),
              Arrays.stream(rejected).max().getAsDouble());
      near(least, found, MetricNames.MIN_REWARD, 5e-5);
      near(most, found, MetricNames.MAX_REWARD, 5e-5);
    }
    SafetensorsFile saved = SafetensorsFile.open(output.resolve("model.safetensors"));
    assertEquals(3, trace.assertFinalWeights(saved));
    JsonNode norms = trace.json().path("final_parameter_norms");
    for (var tensor : saved.tensors()) {
      double squares = 0;
      for (float value : saved.readFloats(tensor.name())) {
        squares += (double) value * value;
      }
      double norm = norms.path(tensor.name()).asDouble(Double.NaN);
      assertEquals(norm, Math.sqrt(squares), 1e-5 * norm, tensor.name());
    }
  }

  /** The trace's pairs in the order in which its steps see them, as a data file of token ids. */
  private Path pairs(SafetensorsFile tensors) throws IOException {
    List<int[]> chosen = rows(tensors, "chosen");
    List<int[]> rejected = rows(tensors, "rejected");
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < chosen.size(); i++) {
      lines.add(
          "{\"chosen_input_ids\": %s, \"rejected_input_ids\": %s}"
              .formatted(Arrays.toString(chosen.get(i)), Arrays.toString(rejected.get(i))));
    }
    return Files.write(temporary.resolve("pairs.jsonl"), lines);
  }

  private static List<int[]> rows(SafetensorsFile tensors, String side) {
    long[] ids = tensors.readLongs(side + "_ids");
    long[] lengths = tensors.readLongs(side + "_lengths");
    int width = ids.length / lengths.length;
    List<int[]> rows = new ArrayList<>();
    for (int row = 0; row < lengths.length; row++) {
      rows.add(
          Arrays.stream(ids, row * width, row * width + (int) lengths[row])
              .mapToInt(Math::toIntExact)
              .toArray());
    }
    return rows;
  }
}
