package org.rlhf4j.reward;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.report.MetricNames;
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.train.RunContext;

/** Repeats 60 steps of Hugging Face's on real pairs of HH. */
class HhRewardTest {
  private static final JsonMapper JSON = new JsonMapper();

  @Test
  void lossesAndTestAccuracyAreHuggingFaces(@TempDir Path temporary) throws IOException {
    Path folder = Shared.path("golden/hh-reward");
    JsonNode trace = JSON.readTree(folder.resolve("trace.json").toFile());
    RewardConfig config =
        Config.of(RewardConfig.class)
            .set("model_name_or_path", folder.toString())
            .set("dataset_path", folder.resolve("train.jsonl.gz").toString())
            .set("eval_dataset_path", folder.resolve("test.jsonl.gz").toString())
            .set("eval_steps", 1000)
            .set("output_dir", temporary.resolve("out").toString())
            .set("dtype", "fp32")
            .set("learning_rate", trace.path("lr").asDouble())
            .set("lr_scheduler_type", trace.path("schedule").asText())
            .set("warmup_steps", trace.path("warmup_steps").asInt())
            .set("max_grad_norm", trace.path("max_grad_norm").asDouble())
            .set("per_device_train_batch_size", trace.path("batch_pairs").asInt())
            .set("shuffle_dataset", false)
            .set("logging_steps", 1)
            .set("save_strategy", "no")
            .build();

    List<Map<String, Object>> metrics = new RewardTrainer(config, RunContext.silent()).train();

    List<Map<String, Object>> steps =
        metrics.stream().filter(row -> row.containsKey(MetricNames.LOSS)).toList();
    JsonNode expected = trace.path("steps");
    assertEquals(60, expected.size());
    assertEquals(expected.size(), steps.size());
    for (int s = 0; s < steps.size(); s++) {
      double loss = expected.get(s).path("loss").asDouble();
      double norm = expected.get(s).path("grad_norm").asDouble();
      assertEquals(loss, number(steps.get(s), MetricNames.LOSS), 1e-3 * loss, "step " + (s + 1));
      assertEquals(norm, number(steps.get(s), MetricNames.GRAD_NORM), 1e-2 * norm);
    }
    Map<String, Object> evaluation = metrics.get(metrics.size() - 1);
    RewardStats stats = RewardStats.read(temporary.resolve("out"));
    double pairs = stats.count() / 2.0;
    assertEquals(205, pairs);
    double accuracy = number(evaluation, MetricNames.eval(MetricNames.ACCURACY));
    assertTrue(
        Math.abs(accuracy - trace.path("test_accuracy").asDouble()) * pairs < 2.5,
        "accuracy " + accuracy);
    double loss = number(evaluation, MetricNames.eval(MetricNames.LOSS));
    assertEquals(trace.path("test_loss").asDouble(), loss, 1e-3 * loss);
    assertEquals(number(evaluation, MetricNames.eval(MetricNames.MEAN_REWARD)), stats.mean(), 1e-9);
  }

  private static double number(Map<String, Object> row, String name) {
    return ((Number) row.get(name)).doubleValue();
  }
}
