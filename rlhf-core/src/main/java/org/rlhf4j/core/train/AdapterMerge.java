package org.rlhf4j.core.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.Stream;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.checkpoint.AtomicFolder;
import org.rlhf4j.core.checkpoint.ConfigJson;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.checkpoint.SaveFormat;
import org.rlhf4j.core.checkpoint.StoredType;
import org.rlhf4j.core.config.SaveDtype;
import org.rlhf4j.core.data.TextForm;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.model.ModelHead;
import org.rlhf4j.core.model.ModelWriter;
import org.rlhf4j.core.report.Console;
import org.rlhf4j.core.text.Tokenizer;

/** Turns the folder of an adapter into that of a model like any other. */
public final class AdapterMerge {
  /** What an adapter's run says of its texts and scores, which hold for the merged model too. */
  private static final List<String> OF_THE_RUN = List.of("config.yaml", "reward_stats.json");

  private AdapterMerge() {}

  /**
   * How the merged weights are written.
   *
   * @param dtype of each number
   * @param maxShardBytes of one file
   */
  public record Saving(SaveDtype dtype, long maxShardBytes) {}

  /**
   * Merges an adapter into its model's weights.
   *
   * @param adapter its folder; neither it nor the model's is changed
   * @param output a folder that does not exist yet or is empty
   * @throws RlhfException on an output that is in use, and on unusable input
   */
  public static void run(Path adapter, Path output, Saving saving, Console console) {
    requireFree(output);
    ModelFolder folder = ModelFolder.open(adapter);
    ModelFamilies.Model model = ModelFamilies.of(folder);
    StoredType type =
        switch (saving.dtype()) {
          case SOURCE -> folder.storedType();
          case FP32 -> StoredType.F32;
          case BF16 -> StoredType.BF16;
        };
    boolean reward = model.head() == ModelHead.SEQUENCE_CLASSIFICATION;
    int padTokenId = reward ? padTokenId(folder) : 0;
    try (AtomicFolder written = AtomicFolder.create(output)) {
      ModelWriter.merged(
          written.path(), folder, new SaveFormat(type, saving.maxShardBytes()), padTokenId);
      for (String name : OF_THE_RUN) {
        if (reward && Files.exists(adapter.resolve(name))) {
          AtomicFiles.copy(adapter.resolve(name), written.path().resolve(name));
        }
      }
      written.commit();
    }
    console.line("merge-lora: %s and %s → %s".formatted(folder.basePath(), adapter, output));
  }

  private static void requireFree(Path output) {
    if (!Files.exists(output)) {
      return;
    }
    try (Stream<Path> content = Files.list(output)) {
      if (content.findAny().isEmpty()) {
        return;
      }
    } catch (IOException e) {
      throw RlhfException.environment("output_path: cannot read " + output, e);
    }
    throw RlhfException.config("output_path: " + output + " is not empty; choose another");
  }

  private static int padTokenId(ModelFolder folder) {
    OptionalInt ofTokenizer = OptionalInt.empty();
    if (Tokenizer.existsIn(folder.tokenizerPath())) {
      try (Tokenizer tokenizer = Tokenizer.load(folder.tokenizerPath())) {
        ofTokenizer = tokenizer.padId();
      }
    }
    boolean appendEos = TextForm.of(folder.path()).appendEos();
    return ConfigJson.rewardPadTokenId(folder, ofTokenizer, appendEos);
  }
}
