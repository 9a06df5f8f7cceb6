package org.rlhf4j.core.report;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Instant;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.AtomicFiles;
import org.rlhf4j.core.checkpoint.ModelFolder;

/**
 * {@code provenance.json}: what a later reader needs to repeat the run. Java version, operating
 * system and processor count are added when it is written.
 *
 * @param method the verb, as {@code sft}
 * @param versions of {@code rlhf4j}, {@code djl}, {@code pytorch}, and as {@code git} the commit
 *     that the library was built from
 * @param command the command line, or null where the library was called from Java
 * @param config the merged configuration
 * @param data the files read
 * @param startModel the model begun from
 * @param numerics the resolved choices that change bits
 * @param sessions one entry per start of the run; a resumed run has several
 */
public record Provenance(
    String method,
    Map<String, String> versions,
    List<String> command,
    Map<String, ?> config,
    List<DataFile> data,
    Model startModel,
    Numerics numerics,
    List<Session> sessions) {
  /** The file's name within {@code output_dir}. */
  public static final String FILE_NAME = "provenance.json";

  private static final String BUILD_FILE = "/org/rlhf4j/core/build.properties";

  /**
   * A data file.
   *
   * @param role {@code train} or {@code eval}
   * @param path as named in the configuration
   * @param sha256 of the file's bytes, in hex
   * @param rows rows read
   */
  public record DataFile(String role, String path, String sha256, long rows) {}

  /** A model folder as named, and the SHA-256 of its weight files, in hex. */
  public record Model(String path, String sha256) {}

  /**
   * The resolved choices on which bits depend.
   *
   * @param device as {@code cpu}
   * @param dtype {@code fp32} or {@code bf16}
   * @param threads intra-op threads
   * @param seed of the run
   * @param kernels further choices by name
   */
  public record Numerics(
      String device, String dtype, int threads, long seed, Map<String, String> kernels) {}

  /**
   * One start of the run.
   *
   * @param started when
   * @param finished when, or null while it runs or where it was killed
   * @param fromStep finished steps at its start
   * @param toStep finished steps at its end, or null likewise
   */
  public record Session(Instant started, Instant finished, long fromStep, Long toStep) {}

  /** The library's own version, from its JAR; {@code development} where it is run from classes. */
  public static String libraryVersion() {
    String version = Provenance.class.getPackage().getImplementationVersion();
    return version == null ? "development" : version;
  }

  /**
   * The commit that the library was built from, {@code -dirty} where files had been changed; {@code
   * unknown} where the build was not told.
   */
  public static String gitCommit() {
    Properties build = new Properties();
    try (InputStream in = Provenance.class.getResourceAsStream(BUILD_FILE)) {
      if (in != null) {
        build.load(in);
      }
    } catch (IOException e) {
      throw new IllegalStateException("the library's own " + BUILD_FILE + " can be read", e);
    }
    String commit = build.getProperty("git.commit", "");
    return commit.isBlank() || commit.startsWith("$") ? "unknown" : commit;
  }

  /** SHA-256 of a file's bytes, in hex. */
  public static String sha256(Path file) {
    try (InputStream in = Files.newInputStream(file)) {
      MessageDigest digest = digest();
      byte[] buffer = new byte[1 << 16];
      for (int read = in.read(buffer); read >= 0; read = in.read(buffer)) {
        digest.update(buffer, 0, read);
      }
      return HexFormat.of().formatHex(digest.digest());
    } catch (IOException e) {
      throw RlhfException.input("cannot read " + file + ": " + ReportFiles.reason(e), e);
    }
  }

  /**
   * SHA-256 of a model's weights, in hex: that of the one file, or of several files that of the
   * lines of their names and hashes.
   *
   * @param folder a model as Hugging Face stores it
   */
  public static String weightsSha256(Path folder) {
    ModelFolder model = ModelFolder.open(folder);
    TreeSet<Path> files = new TreeSet<>();
    model.tensorNames().forEach(name -> files.add(model.fileOf(name).path()));
    model.adapter().ifPresent(adapter -> files.add(adapter.tensors().path()));
    if (files.size() == 1) {
      return sha256(files.first());
    }
    MessageDigest digest = digest();
    for (Path file : files) {
      String line = file.getFileName() + " " + sha256(file) + "\n";
      digest.update(line.getBytes(StandardCharsets.UTF_8));
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  private static MessageDigest digest() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }

  /** Writes the file into a folder. */
  public void write(Path outputDir) {
    Map<String, Object> keys = new LinkedHashMap<>();
    keys.put("method", method);
    keys.put("versions", versions);
    keys.put("system", system());
    keys.put("command", command);
    keys.put("config", config);
    keys.put("data", data);
    keys.put("start_model", startModel);
    keys.put("numerics", numerics);
    keys.put("sessions", sessions);
    AtomicFiles.write(outputDir.resolve(FILE_NAME), ReportFiles.prettyJson(keys));
  }

  /** Reads the file of a folder, as {@code inspect} and a resumed run do. */
  public static Provenance read(Path outputDir) {
    return ReportFiles.readJson(outputDir.resolve(FILE_NAME), Provenance.class);
  }

  private static Map<String, Object> system() {
    Map<String, Object> system = new LinkedHashMap<>();
    system.put("java", System.getProperty("java.version"));
    system.put("java_vm", System.getProperty("java.vm.name"));
    system.put("os", System.getProperty("os.name") + " " + System.getProperty("os.version"));
    system.put("arch", System.getProperty("os.arch"));
    system.put("processors", Runtime.getRuntime().availableProcessors());
    return system;
  }
}
