package org.rlhf4j.sft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

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
class SftTraceTest {
  private static final JsonMapper JSON = new JsonMapper();

  @TempDir Path temporary;

  @ParameterizedTest
  @CsvSource({"sft-linear,false", "sft-cosine,false", "sft-linear,true"})
  void lossesNormsRatesAndWeightsAreHuggingFaces(String name, boolean checkpointing)
      throws IOException {
    Path model = Shared.path("golden/models/llama-gqa");
    JsonNode trace = JSON.readTree(model.resolve("trace-" + name + ".json").toFile());
    SafetensorsFile tensors = SafetensorsFile.open(model.resolve("trace-" + name + ".safetensors"));
    JsonNode options = trace.path("options");
    Path output = temporary.resolve("out");
    SftConfig config =
        Config.of(SftConfig.class)
            .set("model_name_or_path", model.toString())
            .set("dataset_path", rows(tensors).toString())
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
            .set("gradient_accumulation_steps", options.path("gradient_accumulation").asInt())
            .set("per_device_train_batch_size", options.path("micro_batch").asInt())
            .set("shuffle_dataset", false)
            .set("activation_checkpointing", checkpointing)
            .set("logging_steps", 1)
            .build();

    List<Map<String, Object>> metrics = new SftTrainer(config, RunContext.silent()).train();

    JsonNode steps = trace.path("steps");
    assertEquals(steps.size(), metrics.size());
    for (int s = 0; s < steps.size(); s++) {
      JsonNode expected = steps.get(s);
      Map<String, Object> found = metrics.get(s);
      assertEquals(s + 1L, ((Number) found.get(MetricNames.STEP)).longValue());
      near(expected.path("loss"), found, MetricNames.LOSS, 5e-5);
      near(expected.path("grad_norm"), found, MetricNames.GRAD_NORM, 5e-4);
      near(expected.path("lr"), found, MetricNames.LEARNING_RATE, 1e-12);
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
    assertTrue(compared >= 3);
  }

  private static void near(
      JsonNode expected, Map<String, Object> row, String name, double tolerance) {
    double found = ((Number) row.get(name)).doubleValue();
    assertEquals(expected.asDouble(), found, tolerance, name + " at step " + row.get("step"));
  }

  /** The trace's rows in the order in which its steps see them, as a data file of token ids. */
  private Path rows(SafetensorsFile tensors) throws IOException {
    long[] ids = tensors.readLongs("input_ids");
    long[] labels = tensors.readLongs("labels");
    long[] lengths = tensors.readLongs("lengths");
    int width = ids.length / lengths.length;
    List<String> lines = new ArrayList<>();
    for (int row = 0; row < lengths.length; row++) {
      int from = row * width;
      int to = from + (int) lengths[row];
      lines.add(
          "{\"input_ids\": %s, \"labels\": %s}"
              .formatted(
                  Arrays.toString(Arrays.copyOfRange(ids, from, to)),
                  Arrays.toString(Arrays.copyOfRange(labels, from, to))));
    }
    return Files.write(temporary.resolve("rows.jsonl"), lines);
  }
}
