package org.rlhf4j.sft;

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
import org.rlhf4j.core.testing.Shared;
import org.rlhf4j.core.testing.TrainingTrace;
import org.rlhf4j.core.train.RunContext;

/** Repeats Hugging Face's training step by step, through the trainer and its files. */
class SftTraceTest {
  @TempDir Path temporary;

  @ParameterizedTest
  @CsvSource({"sft-linear,false", "sft-cosine,false", "sft-linear,true"})
  void lossesNormsRatesAndWeightsAreHuggingFaces(String name, boolean checkpointing)
      throws IOException {
    TrainingTrace trace = TrainingTrace.read(Shared.path("golden/models/llama-gqa"), name);
    Path output = temporary.resolve("out");
    SftConfig config =
        trace
            .configure(Config.of(SftConfig.class), rows(trace.tensors()), output)
            .set(
                "gradient_accumulation_steps",
                trace.options().path("gradient_accumulation").asInt())
            .set("per_device_train_batch_size", trace.options().path("micro_batch").asInt())
            .set("activation_checkpointing", checkpointing)
            .build();

    List<Map<String, Object>> metrics = new SftTrainer(config, RunContext.silent()).train();
    trace.assertSteps(metrics);
    if (name.equals("sft-linear")) {
      assertLossesAndNormsAreTrls(trace.model(), metrics);
    }
    SafetensorsFile saved = SafetensorsFile.open(output.resolve("model.safetensors"));
    assertTrue(trace.assertFinalWeights(saved) >= 3);
  }

  /** TRL's SFTTrainer on the same rows; its loss and norm of a step are those of the plain loop. */
  private static void assertLossesAndNormsAreTrls(Path model, List<Map<String, Object>> metrics)
      throws IOException {
    JsonNode steps =
        new JsonMapper().readTree(model.resolve("trace-trl-sft.json").toFile()).path("steps");
    assertEquals(12, steps.size());
    for (int s = 0; s < steps.size(); s++) {
      TrainingTrace.near(steps.get(s).path("loss").asDouble(), metrics.get(s), "loss", 5e-5);
      TrainingTrace.near(
          steps.get(s).path("grad_norm").asDouble(), metrics.get(s), "grad_norm", 5e-4);
    }
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
