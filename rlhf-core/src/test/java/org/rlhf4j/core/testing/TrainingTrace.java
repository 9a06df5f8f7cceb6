package org.rlhf4j.core.testing;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.checkpoint.SafetensorsFile;
import org.rlhf4j.core.config.ConfigBuilder;
import org.rlhf4j.core.report.MetricNames;

/**
 * A recorded training run of Hugging Face's: its settings, what each step found, and the weights in
 * the end.
 *
 * @param model the folder that it starts from
 * @param json settings and steps
 * @param tensors data and final weights
 */
public record TrainingTrace(Path model, JsonNode json, SafetensorsFile tensors) {
  private static final double LOSS_TOLERANCE = 5e-5;
  private static final double NORM_TOLERANCE = 5e-4;
  private static final double RATE_TOLERANCE = 1e-12;
  private static final float WEIGHT_TOLERANCE = 1e-5f;

  /** Reads {@code trace-NAME.json} and {@code trace-NAME.safetensors} of a golden model. */
  public static TrainingTrace read(Path model, String name) throws IOException {
    return new TrainingTrace(
        model,
        new JsonMapper().readTree(model.resolve("trace-" + name + ".json").toFile()),
        SafetensorsFile.open(model.resolve("trace-" + name + ".safetensors")));
  }

  /** The run's settings. */
  public JsonNode options() {
    return json.path("options");
  }

  /** What each step found. */
  public JsonNode steps() {
    return json.path("steps");
  }

  /** Sets the keys that all methods have, in fp32 and with a row of metrics for each step. */
  public <C extends Record> ConfigBuilder<C> configure(
      ConfigBuilder<C> builder, Path data, Path output) {
    JsonNode options = options();
    return builder
        .set("model_name_or_path", model.toString())
        .set("dataset_path", data.toString())
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
        .set("shuffle_dataset", false)
        .set("logging_steps", 1);
  }

  /** Requires the trace's losses, gradient norms and learning rates, step by step. */
  public void assertSteps(List<Map<String, Object>> metrics) {
    assertEquals(steps().size(), metrics.size());
    for (int s = 0; s < steps().size(); s++) {
      JsonNode expected = steps().get(s);
      Map<String, Object> found = metrics.get(s);
      assertEquals(s + 1L, ((Number) found.get(MetricNames.STEP)).longValue());
      near(expected.path("loss").asDouble(), found, MetricNames.LOSS, LOSS_TOLERANCE);
      near(expected.path("grad_norm").asDouble(), found, MetricNames.GRAD_NORM, NORM_TOLERANCE);
      near(expected.path("lr").asDouble(), found, MetricNames.LEARNING_RATE, RATE_TOLERANCE);
    }
  }

  /** Requires a figure of a row of metrics. */
  public static void near(double expected, Map<String, Object> row, String name, double tolerance) {
    double found = ((Number) row.get(name)).doubleValue();
    assertEquals(expected, found, tolerance, name + " at step " + row.get("step"));
  }

  /**
   * Requires the trace's final weights in a saved model.
   *
   * @return how many tensors the trace has
   */
  public int assertFinalWeights(SafetensorsFile saved) {
    int compared = 0;
    for (var tensor : tensors.tensors()) {
      if (tensor.name().startsWith("final.")) {
        String parameter = tensor.name().substring("final.".length());
        assertArrayEquals(
            tensors.readFloats(tensor.name()),
            saved.readFloats(parameter),
            WEIGHT_TOLERANCE,
            parameter);
        compared++;
      }
    }
    return compared;
  }
}
