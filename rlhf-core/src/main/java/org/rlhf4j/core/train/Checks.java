package org.rlhf4j.core.train;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.data.EncodedDataset;
import org.rlhf4j.core.model.DecoderSpec;
import org.rlhf4j.core.model.ModelFamilies;
import org.rlhf4j.core.model.ParameterSpec;
import org.rlhf4j.core.report.Format;
import org.rlhf4j.core.torch.Torch;

/**
 * What is found where somebody looks, before anything is run, at what a configuration names. A
 * problem does not end the look: all of them are thrown together at its end.
 */
public final class Checks {
  private final Consumer<String> warnings;
  private final List<RlhfException> problems = new ArrayList<>();
  private final List<Fact> facts = new ArrayList<>();

  /**
   * Something found; the name is empty for a further line of the fact before.
   *
   * @param name of what it is about
   * @param text one line
   */
  public record Fact(String name, String text) {}

  /** Nothing found yet; takes warnings, one line each. */
  public Checks(Consumer<String> warnings) {
    this.warnings = warnings;
  }

  /** Looks at something; null, and a problem, where it would stop the run. */
  public <T> T look(Supplier<T> at) {
    try {
      return at.get();
    } catch (RlhfException e) {
      problem(e);
      return null;
    }
  }

  /** Looks whether something holds; what it throws becomes a problem. */
  public void require(Runnable condition) {
    look(
        () -> {
          condition.run();
          return null;
        });
  }

  /** Adds what would stop the run. */
  public void problem(RlhfException found) {
    boolean known = problems.stream().anyMatch(e -> e.getMessage().equals(found.getMessage()));
    if (!known) {
      problems.add(found);
    }
  }

  /** Adds what a run would only warn of. */
  public void warn(String line) {
    warnings.accept(line);
  }

  /** Adds something to show where nothing stops the run. */
  public void fact(String name, String text) {
    facts.add(new Fact(name, text));
  }

  /**
   * A model's folder, as far as it can be read.
   *
   * @param folder null where it cannot be opened
   * @param model null where its configuration cannot be read
   */
  public record FoundModel(ModelFolder folder, ModelFamilies.Model model) {}

  /**
   * Opens a model's folder, and tells what is in it. Of a folder that is not there at all nothing
   * is said, since the keys' own check tells.
   *
   * @param name what it is to the run
   */
  public FoundModel model(String name, Path path) {
    ModelFolder folder = Files.isDirectory(path) ? look(() -> ModelFolder.open(path)) : null;
    ModelFamilies.Model model = folder == null ? null : look(() -> ModelFamilies.of(folder));
    if (model != null) {
      fact(name, line(folder, model));
    }
    return new FoundModel(folder, model);
  }

  private static String line(ModelFolder folder, ModelFamilies.Model model) {
    DecoderSpec spec = model.spec();
    long parameters = model.parameters().stream().mapToLong(ParameterSpec::elements).sum();
    return "%s (%s, %d layers, width %d, %s parameters, vocabulary %s, context %s)"
        .formatted(
            folder.path(),
            spec.family(),
            spec.layers(),
            spec.hiddenSize(),
            Format.shortCount(parameters),
            Format.count(spec.vocabularySize()),
            Format.count(spec.maxPositions()));
  }

  /** Looks whether a device is there; PyTorch is loaded only to ask for a GPU. */
  public void device(String name) {
    if (!name.equals("auto") && !name.equals("cpu")) {
      require(() -> Torch.requireThere(name));
    }
  }

  /**
   * Reads rows, and tells what became of them.
   *
   * @param load reads files as a run does
   * @param rows those of what was read
   * @return null where they would stop the run
   */
  public <T> T data(String name, Supplier<T> load, Function<T, EncodedDataset<?>> rows) {
    T read = look(load);
    if (read != null) {
      List<String> lines = rows.apply(read).report().lines();
      for (int i = 0; i < lines.size(); i++) {
        fact(i == 0 ? name : "", lines.get(i));
      }
    }
    return read;
  }

  /** Whether something was found that would stop the run. */
  public boolean foundProblems() {
    return !problems.isEmpty();
  }

  /** What there is to show, in the order of looking. */
  public List<Fact> facts() {
    return List.copyOf(facts);
  }

  /**
   * Ends the look.
   *
   * @throws RlhfException with a line for each problem, where there are any
   */
  public void throwProblems() {
    if (!problems.isEmpty()) {
      throw RlhfException.together(problems);
    }
  }
}
