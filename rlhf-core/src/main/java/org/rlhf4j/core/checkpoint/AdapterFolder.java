package org.rlhf4j.core.checkpoint;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import org.rlhf4j.core.RlhfException;

/**
 * The files of an adapter as PEFT writes them: {@code adapter_config.json} and {@code
 * adapter_model.safetensors}, in older folders {@code adapter_model.bin}. The model that it belongs
 * to lies elsewhere.
 *
 * @param configFile the configuration
 * @param config what it holds
 * @param tensors the adapter's tensors
 * @param base the folder of the model
 */
public record AdapterFolder(Path configFile, ObjectNode config, WeightFile tensors, Path base) {
  /** Says that a folder holds an adapter. */
  public static final String CONFIG_FILE = "adapter_config.json";

  /** The adapter's tensors. */
  public static final String TENSORS_FILE = "adapter_model.safetensors";

  private static final String PICKLED_FILE = "adapter_model.bin";

  /** The key of the configuration that says where the model lies. */
  public static final String BASE_KEY = "base_model_name_or_path";

  /** Whether a folder holds an adapter. */
  public static boolean existsIn(Path folder) {
    return Files.exists(folder.resolve(CONFIG_FILE));
  }

  /**
   * Opens an adapter.
   *
   * @throws RlhfException when a file is missing or corrupt, or the model is not there
   */
  static AdapterFolder open(Path folder) {
    Path configFile = folder.resolve(CONFIG_FILE);
    ObjectNode config = StrictJson.read(configFile);
    Path tensors = folder.resolve(TENSORS_FILE);
    Path pickled = folder.resolve(PICKLED_FILE);
    if (!Files.exists(tensors) && !Files.exists(pickled)) {
      throw RlhfException.input(
          folder + ": an adapter without " + TENSORS_FILE + " or " + PICKLED_FILE);
    }
    Path base = base(folder, config.path(BASE_KEY).textValue(), configFile);
    WeightFile opened =
        Files.exists(tensors) ? SafetensorsFile.open(tensors) : PickledFile.open(pickled);
    return new AdapterFolder(configFile, config, opened, base);
  }

  /** A relative path counts from where the process runs, as in PEFT, or from the adapter. */
  private static Path base(Path folder, String named, Path configFile) {
    if (named == null || named.isEmpty()) {
      throw RlhfException.input(
          configFile + ": " + BASE_KEY + " must be the folder of the adapter's model");
    }
    Path beside = folder.resolve(named);
    Path base = Files.isDirectory(Path.of(named)) ? Path.of(named) : beside;
    if (!Files.isDirectory(base)) {
      throw RlhfException.input(
          configFile
              + ": "
              + BASE_KEY
              + " "
              + named
              + " is no folder"
              + (Path.of(named).isAbsolute() ? "" : ", neither here nor beside the adapter"));
    }
    if (existsIn(base)) {
      throw RlhfException.input(
          configFile
              + ": "
              + BASE_KEY
              + " "
              + named
              + " is an adapter itself; merge it into its model first (merge-lora)");
    }
    return base;
  }
}
