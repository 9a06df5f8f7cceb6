package org.rlhf4j.core.text;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.StrictJson;
import org.rlhf4j.core.text.SentencePieceModel.Algorithm;
import org.rlhf4j.core.text.SentencePieceModel.PieceType;
import org.rlhf4j.core.text.SentencePiecePreparation.Parting;

/**
 * Reads the files of a tokenizer, as versions 4 and 5 of transformers write them, and makes of them
 * what the engine takes.
 */
final class TokenizerReader {
  static final String TOKENIZER_FILE = "tokenizer.json";
  static final String SENTENCE_PIECE_FILE = "tokenizer.model";
  static final String CONFIG_FILE = "tokenizer_config.json";
  static final String SPECIALS_FILE = "special_tokens_map.json";
  static final String ADDED_FILE = "added_tokens.json";

  private static final String BOS = "bos_token";
  private static final String EOS = "eos_token";
  private static final List<String> ROLES = List.of(BOS, EOS, "pad_token", "unk_token");

  private static final String GPT2 = "GPT2Tokenizer";

  /** Classes of transformers, and whether they put BOS before a text if not told; none puts EOS. */
  private static final Map<String, Boolean> PUTS_BOS =
      Map.of(
          "LlamaTokenizer", true, "CodeLlamaTokenizer", true, "GemmaTokenizer", true, GPT2, false);

  /**
   * A tokenizer as it is used.
   *
   * @param origin the file that it was read from
   * @param engineInput a tokenizer.json for the engine, with the secret names in it
   * @param names the tokens that go by secret names in the engine
   * @param vocabulary the id of every token
   * @param roles the names of {@code bos_token} and the like, where they have ids
   * @param preparation what is done to text before the engine gets it
   */
  record Description(
      Path origin,
      ObjectNode engineInput,
      SecretNames names,
      Map<String, Integer> vocabulary,
      Map<String, String> roles,
      Preparation preparation) {}

  private final Path folder;
  private final Path file;
  private final ObjectNode tokenizer;
  private final ObjectNode config;
  private final ObjectNode specialsMap;
  private final Map<String, Integer> vocabulary = new HashMap<>();
  private final Map<String, ObjectNode> addedTokens = new HashMap<>();
  private final Map<String, String> roles = new HashMap<>();

  /** Tokens without special meaning that are cut out of every text before it is normalized. */
  private final Set<String> literals = new HashSet<>();

  /** Null where the tokenizer is a tokenizer.json. */
  private final SentencePieceModel sentencePiece;

  private TokenizerReader(Path folder) {
    this.folder = folder;
    this.file =
        fileIn(folder)
            .orElseThrow(
                () ->
                    RlhfException.input(
                        folder
                            + ": no tokenizer file, expected tokenizer.json, tokenizer.model, or"
                            + " vocab.json with merges.txt"));
    config = readIfPresent(CONFIG_FILE);
    specialsMap = readIfPresent(SPECIALS_FILE);
    switch (file.getFileName().toString()) {
      case SENTENCE_PIECE_FILE -> {
        sentencePiece = SentencePieceModel.read(file);
        tokenizer = SentencePieceConverter.convert(sentencePiece);
      }
      case BytePairFiles.VOCABULARY_FILE -> {
        sentencePiece = null;
        requireGpt2();
        tokenizer = BytePairFiles.read(folder, flag("add_prefix_space").orElse(false));
        TokenizerJson.check(tokenizer, file);
      }
      default -> {
        sentencePiece = null;
        tokenizer = StrictJson.read(file);
        TokenizerJson.check(tokenizer, file);
      }
    }
  }

  /** The two files do not say how a text is cut into words, the class does. */
  private void requireGpt2() {
    String named = config.path("tokenizer_class").asText(GPT2);
    if (!usualName(named).equals(GPT2)) {
      throw RlhfException.input(
          "%s: tokenizer_class = %s is not supported with %s, supported: %s; a tokenizer.json of any class is"
              .formatted(folder.resolve(CONFIG_FILE), named, BytePairFiles.VOCABULARY_FILE, GPT2));
    }
  }

  private static String usualName(String tokenizerClass) {
    return tokenizerClass.replaceAll("Fast$", "");
  }

  /** The file that a folder's tokenizer is read from; a tokenizer.json comes first. */
  static Optional<Path> fileIn(Path folder) {
    boolean merges = Files.isRegularFile(folder.resolve(BytePairFiles.MERGES_FILE));
    return Stream.of(TOKENIZER_FILE, SENTENCE_PIECE_FILE, BytePairFiles.VOCABULARY_FILE)
        .filter(name -> merges || !name.equals(BytePairFiles.VOCABULARY_FILE))
        .map(folder::resolve)
        .filter(Files::isRegularFile)
        .findFirst();
  }

  /**
   * Reads the tokenizer of a folder.
   *
   * @throws RlhfException if a file is missing, corrupt, or asks for something that is not
   *     supported
   */
  static Description read(Path folder) {
    return new TokenizerReader(folder).read();
  }

  private Description read() {
    readVocabulary();
    addTokensOfConfig();
    requireIdsWithoutHoles();
    readRoles();
    extraSpecialTokens().filter(vocabulary::containsKey).forEach(this::markSpecial);
    if (!file.endsWith(TOKENIZER_FILE)) {
      writePostProcessor();
    }
    SecretNames names = hideTokens();
    Preparation preparation = sentencePiece == null ? Preparation.NONE : preparation(names);
    tokenizer.putNull("truncation");
    tokenizer.putNull("padding");
    return new Description(
        file, tokenizer, names, Map.copyOf(vocabulary), Map.copyOf(roles), preparation);
  }

  private ObjectNode readIfPresent(String name) {
    Path path = folder.resolve(name);
    return Files.isRegularFile(path)
        ? StrictJson.read(path)
        : JsonNodeFactory.instance.objectNode();
  }

  private void readVocabulary() {
    JsonNode tokens = tokenizer.path("model").path("vocab");
    if (tokens.isObject()) {
      tokens
          .properties()
          .forEach(entry -> vocabulary.put(entry.getKey(), entry.getValue().asInt()));
    } else {
      for (int id = 0; id < tokens.size(); id++) {
        String text = tokens.path(id).path(0).asText();
        if (vocabulary.put(text, id) != null) {
          throw RlhfException.input(file + ": token '" + text + "' is there twice");
        }
      }
    }
    for (JsonNode token : tokenizer.path("added_tokens")) {
      add((ObjectNode) token, file);
    }
  }

  /** Enters an added token; one that is known already must have the same id. */
  private void add(ObjectNode token, Path source) {
    String content = token.path("content").asText();
    int id = token.path("id").asInt();
    Integer known = vocabulary.putIfAbsent(content, id);
    if (known != null && known != id) {
      throw RlhfException.input(
          "%s: token '%s' has the id %d, but also %d".formatted(source, content, id, known));
    }
    addedTokens.put(content, token);
  }

  /**
   * Version 4 keeps added tokens in {@code added_tokens_decoder}, earlier ones in {@code
   * added_tokens.json}; a tokenizer.json mostly has them too.
   */
  private void addTokensOfConfig() {
    Path configFile = folder.resolve(CONFIG_FILE);
    JsonNode listed = config.path("added_tokens_decoder");
    if (!listed.isMissingNode() && !listed.isNull()) {
      if (!listed.isObject()) {
        throw RlhfException.input(
            configFile + ": added_tokens_decoder must give a token for each id");
      }
      for (Map.Entry<String, JsonNode> entry : listed.properties()) {
        String key = "added_tokens_decoder." + entry.getKey();
        ObjectNode token = TokenizerJson.addedToken(entry.getValue(), configFile, key);
        addTokenOfConfig(
            token.put("id", TokenizerJson.id(entry.getKey(), configFile, key)), configFile);
      }
    } else if (!file.endsWith(TOKENIZER_FILE)) {
      Path addedFile = folder.resolve(ADDED_FILE);
      for (Map.Entry<String, JsonNode> entry : readIfPresent(ADDED_FILE).properties()) {
        int id = TokenizerJson.id(entry.getValue(), addedFile, entry.getKey());
        ObjectNode token = JsonNodeFactory.instance.objectNode();
        addTokenOfConfig(token.put("id", id).put("content", entry.getKey()), addedFile);
      }
    }
  }

  private void addTokenOfConfig(ObjectNode token, Path source) {
    String content = token.path("content").asText();
    ObjectNode known = addedTokens.get(content);
    if (known != null && known.path("id").equals(token.path("id"))) {
      boolean special = known.path("special").asBoolean() || token.path("special").asBoolean();
      known.put("special", special);
      return;
    }
    if (sentencePiece != null) {
      for (String flag : List.of("lstrip", "rstrip", "single_word")) {
        if (token.path(flag).asBoolean()) {
          throw RlhfException.input(
              "%s: token '%s': %s true is not supported with %s"
                  .formatted(source, content, flag, SENTENCE_PIECE_FILE));
        }
      }
      literals.add(content);
    }
    add(token, source);
  }

  private void requireIdsWithoutHoles() {
    String[] names = new String[vocabulary.size()];
    for (Map.Entry<String, Integer> token : vocabulary.entrySet()) {
      int id = token.getValue();
      if (id < names.length && names[id] != null) {
        throw RlhfException.input(
            "%s: tokens '%s' and '%s' have one id, %d"
                .formatted(file, names[id], token.getKey(), id));
      }
      if (id < names.length) {
        names[id] = token.getKey();
      }
    }
    for (int id = 0; id < names.length; id++) {
      if (names[id] == null) {
        throw RlhfException.input(
            "%s: no token has the id %d, though there are larger ids".formatted(file, id));
      }
    }
  }

  private void readRoles() {
    for (String role : ROLES) {
      String content =
          tokenText(config.path(role))
              .or(() -> tokenText(specialsMap.path(role)))
              .or(() -> ownRole(role))
              .orElse(null);
      if (content != null && vocabulary.containsKey(content)) {
        roles.put(role, content);
        markSpecial(content);
      }
    }
  }

  /** What a SentencePiece model itself, or else GPT-2's class, calls the token of a role. */
  private Optional<String> ownRole(String role) {
    if (sentencePiece == null) {
      boolean named = !file.endsWith(BytePairFiles.VOCABULARY_FILE) || config.has(role);
      return named || role.equals("pad_token") ? Optional.empty() : Optional.of("<|endoftext|>");
    }
    return Optional.of(
        switch (role) {
          case BOS -> sentencePiece.bos();
          case EOS -> sentencePiece.eos();
          case "pad_token" -> sentencePiece.pad();
          default -> sentencePiece.pieces().get(sentencePiece.unknownId()).text();
        });
  }

  /** A list in version 4; in version 5 a list or an object that gives each token a role. */
  private Stream<String> extraSpecialTokens() {
    return Stream.of(config, specialsMap)
        .flatMap(
            source ->
                Stream.of(
                    source.path("additional_special_tokens"), source.path("extra_special_tokens")))
        .flatMap(tokens -> StreamSupport.stream(tokens.spliterator(), false))
        .flatMap(token -> tokenText(token).stream());
  }

  /** A token is written as a string, or as an object with {@code content}. */
  private static Optional<String> tokenText(JsonNode node) {
    JsonNode text = node.isObject() ? node.path("content") : node;
    return text.isTextual() && !text.asText().isEmpty()
        ? Optional.of(text.asText())
        : Optional.empty();
  }

  private void markSpecial(String content) {
    ObjectNode token = addedTokens.get(content);
    if (token == null) {
      token = JsonNodeFactory.instance.objectNode();
      token.put("id", vocabulary.get(content)).put("content", content);
      addedTokens.put(content, token);
    }
    token.put("special", true);
    literals.remove(content);
  }

  /** Gives the special tokens secret names and writes the list of added tokens anew. */
  private SecretNames hideTokens() {
    SecretNames names = new SecretNames();
    JsonNode tokens = tokenizer.path("model").path("vocab");
    List<ObjectNode> inOrder = new ArrayList<>(addedTokens.values());
    inOrder.removeIf(token -> isPlainCharacter(token.path("content").asText()));
    // The engine numbers tokens that its model lacks in the order in which they come.
    inOrder.sort(Comparator.comparingInt(token -> token.path("id").asInt()));
    ArrayNode added = tokenizer.putArray("added_tokens");
    for (ObjectNode token : inOrder) {
      String content = token.path("content").asText();
      boolean special = token.path("special").asBoolean();
      if (tokens instanceof ObjectNode byName && !byName.has(content)) {
        byName.set(content, token.path("id"));
      }
      ObjectNode entry =
          SentencePieceConverter.addToken(added, token.path("id").asInt(), content, special);
      for (String flag : List.of("single_word", "lstrip", "rstrip", "normalized")) {
        entry.put(flag, token.path(flag).asBoolean());
      }
      if (special || literals.contains(content)) {
        names.hide(content, literals.contains(content));
      }
    }
    names.writeInto(tokenizer);
    return names;
  }

  /**
   * Whether a token is a single character of the model itself, such as a {@code !} that also pads:
   * with a secret name for it, no text could hold it.
   */
  private boolean isPlainCharacter(String content) {
    if (content.codePointCount(0, content.length()) != 1) {
      return false;
    }
    if (sentencePiece != null) {
      int id = vocabulary.get(content);
      return id < sentencePiece.pieces().size()
          && sentencePiece.pieces().get(id).type() == PieceType.NORMAL;
    }
    JsonNode tokens = tokenizer.path("model").path("vocab");
    return tokens.isObject() ? tokens.has(content) : vocabulary.get(content) < tokens.size();
  }

  /** Which special tokens go around a text; a tokenizer.json has a rule of its own for that. */
  private void writePostProcessor() {
    boolean first = isAdded("add_bos_token", BOS);
    boolean last = isAdded("add_eos_token", EOS);
    if (!first && !last) {
      return;
    }
    ObjectNode processor = tokenizer.putObject("post_processor").put("type", "TemplateProcessing");
    ObjectNode tokens = processor.putObject("special_tokens");
    ArrayNode single = processor.putArray("single");
    if (first) {
      addSpecial(single, tokens, roles.get(BOS));
    }
    single.addObject().putObject("Sequence").put("id", "A").put("type_id", 0);
    if (last) {
      addSpecial(single, tokens, roles.get(EOS));
    }
    ArrayNode pair = processor.putArray("pair");
    for (String sequence : List.of("A", "B")) {
      pair.addObject().putObject("Sequence").put("id", sequence).put("type_id", 0);
    }
  }

  private void addSpecial(ArrayNode template, ObjectNode tokens, String content) {
    template.addObject().putObject("SpecialToken").put("id", content).put("type_id", 0);
    ObjectNode token = tokens.putObject(content).put("id", content);
    token.putArray("ids").add(vocabulary.get(content));
    token.putArray("tokens").add(content);
  }

  private boolean isAdded(String key, String role) {
    Optional<Boolean> asked = flag(key);
    if (asked.isEmpty()) {
      String usual = sentencePiece == null ? GPT2 : "LlamaTokenizer";
      String named = config.path("tokenizer_class").asText(usual);
      Boolean putsBos = PUTS_BOS.get(usualName(named));
      if (putsBos == null) {
        throw RlhfException.input(
            "%s: what tokenizer_class %s puts around a text is not known; give %s: true or false"
                .formatted(folder.resolve(CONFIG_FILE), named, key));
      }
      return putsBos && role.equals(BOS) && roles.containsKey(role);
    }
    if (asked.get() && !roles.containsKey(role)) {
      throw RlhfException.input(
          "%s: %s is true, but there is no %s".formatted(folder.resolve(CONFIG_FILE), key, role));
    }
    return asked.get();
  }

  /** Where SentencePiece and transformers put a space in front of the sections of a text. */
  private Preparation preparation(SecretNames names) {
    boolean legacy = flag("legacy").orElse(true);
    boolean own = sentencePiece.normalization().dummyPrefix();
    boolean prefixed = legacy ? own : flag("add_prefix_space").orElse(own);
    SentencePieceNormalizer normalizer = new SentencePieceNormalizer(sentencePiece);
    Parting parting = null;
    if (SentencePieceMerger.isNeeded(sentencePiece)) {
      SentencePieceMerger merger = new SentencePieceMerger(sentencePiece, normalizer);
      parting = new Parting(boundary(names), merger::boundaries);
    } else if (sentencePiece.algorithm() == Algorithm.UNIGRAM && sentencePiece.byteFallback()) {
      parting = new Parting(boundary(names), SentencePiecePreparation::byteNames);
    }
    return new SentencePiecePreparation(normalizer, prefixed, legacy, parting);
  }

  /** A further token behind all others, which the tokenizer drops from its results. */
  private String boundary(SecretNames names) {
    String name = names.drawBoundary();
    SentencePieceConverter.addToken(
        tokenizer.withArray("added_tokens"), vocabulary.size(), name, true);
    return name;
  }

  private Optional<Boolean> flag(String key) {
    JsonNode value = config.path(key);
    if (value.isMissingNode() || value.isNull()) {
      return Optional.empty();
    }
    if (!value.isBoolean()) {
      throw RlhfException.input(
          "%s: %s must be true or false, found %s"
              .formatted(folder.resolve(CONFIG_FILE), key, value));
    }
    return Optional.of(value.asBoolean());
  }
}
