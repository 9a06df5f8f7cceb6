package org.rlhf4j.reward;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
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
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.train.RunContext;

/** Repeats Hugging Face's training step by step, through the trainer and its files. */
class RewardTraceTest {
  private static final JsonMapper JSON = new JsonMapper();

  @TempDir Path temporary;

  @ParameterizedTest
  @CsvSource({"4,1,false", "2,2,false", "1,4,true"})
  void lossesScoresNormsRatesAndWeightsAreHuggingFaces(
      int batchSize, int accumulation, boolean checkpointing) throws IOException {
    Path model = Shared.path("golden/models/llama-reward");
    JsonNode trace = JSON.readTree(model.resolve("trace-reward.json").toFile());
    SafetensorsFile tensors = SafetensorsFile.open(model.resolve("trace-reward.safetensors"));
    JsonNode options = trace.path("options");
    assertEquals(options.path("pairs").asInt(), batchSize * accumulation);
    Path output = temporary.resolve("out");
    RewardConfig config =
        Config.of(RewardConfig.class)
            .set("model_name_or_path", model.toString())
            .set("dataset_path", pairs(tensors).toString())
            .set("output_dir", output.toString())
            .set("dtype", "fp32")
            .set("learning_rate", options.path("lr").asDouble())
            .set("adam_beta1", options.path("betas").get(0).asDouble())
            .set("adam_beta2", options.path("betas").get(1).asDouble())
            .set("adam_epsilon", options.path("eps").asDouble())
            .set("weight_decay", options.path("weight_decay").asDouble())
            .set("max_grad_norm", options.path("max_grad_norm").asDouble())
            .set("lr_scheduler_type", options.path("schedule").asText())
            .set("warmup_steps", options.path("warmup_steps").asInt())
            .set("max_steps", options.path("steps").asInt())
            .set("gradient_accumulation_steps", accumulation)
            .set("per_device_train_batch_size", batchSize)
            .set("shuffle_dataset", false)
            .set("activation_checkpointing", checkpointing)
            .set("logging_steps", 1)
            .build();

    List<Map<String, Object>> metrics = new RewardTrainer(config, RunContext.silent()).train();

    JsonNode steps = trace.path("steps");
    assertEquals(steps.size(), metrics.size());
    for (int s = 0; s < steps.size(); s++) {
      JsonNode expected = steps.get(s);
      Map<String, Object> found = metrics.get(s);
      assertEquals(s + 1L, ((Number) found.get(MetricNames.STEP)).longValue());
      near(expected.path("loss").asDouble(), found, MetricNames.LOSS, 5e-5);
      near(expected.path("grad_norm").asDouble(), found, MetricNames.GRAD_NORM, 5e-4);
      near(expected.path("lr").asDouble(), found, MetricNames.LEARNING_RATE, 1e-12);
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
    int compared = 0;
    for (var tensor : tensors.tensors()) {
      if (tensor.name().startsWith("final.")) {
        String parameter = tensor.name().substring("final.".length());
        assertArrayEquals(
            tensors.readFloats(tensor.name()), saved.readFloats(parameter), 1e-5f, parameter);
        compared++;
      }
    }
    assertEquals(3, compared);
    JsonNode norms = trace.path("final_parameter_norms");
    for (var tensor : saved.tensors()) {
      double squares = 0;
      for (float value : saved.readFloats(tensor.name())) {
        squares += (double) value * value;
      }
      double norm = norms.path(tensor.name()).asDouble(Double.NaN);
      assertEquals(norm, Math.sqrt(squares), 1e-5 * norm, tensor.name());
    }
  }

  private static void near(
      double expected, Map<String, Object> row, String name, double tolerance) {
    double found = ((Number) row.get(name)).doubleValue();
    assertEquals(expected, found, tolerance, name + " at step " + row.get("step"));
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
